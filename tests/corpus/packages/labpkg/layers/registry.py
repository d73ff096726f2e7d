LAYERS = {}

def register_layer(name):
    def wrap(cls):
        LAYERS[name] = cls
        return cls
    return wrap


def build_layer(name, *args):
    return LAYERS[name](*args)
