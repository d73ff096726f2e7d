from .vis.modeling_vis import VisModel, VisForImageClassification
def build_model(name): return VisModel
