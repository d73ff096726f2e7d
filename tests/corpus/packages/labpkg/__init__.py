from .models import build_model
from .data.loader import Loader
__version__ = "0.3"
