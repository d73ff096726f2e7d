try:
    import not_installed_at_all
except ImportError:
    not_installed_at_all = None

class Loader: pass
