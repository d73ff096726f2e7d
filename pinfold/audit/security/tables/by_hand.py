"""What functions of libraries do with an argument, where no reading of their sources shows it.

An object is handed from one to the next inside them, or the work is done by native code. In the form of names.json.gz:
"what:position:name ...". scripts/library_names.py finds the other names of these functions.
"""

BY_HAND: dict[str, str] = {
    # A parser that reads an address, found by the name of its module.
    "xml.sax.parse": "url:0:source read:0:source",
    "xml.sax.make_parser.parse": "url:0:source read:0:source",
    "xml.sax.expatreader.ExpatParser.parse": "url:0:source read:0:source",
    "xml.sax.saxutils.prepare_input_source": "url:0:source read:0:source",
    "xml.sax.xmlreader.IncrementalParser.parse": "url:0:source read:0:source",
    "xml.dom.pulldom.parse": "read:0:stream_or_string",
    "xml.dom.minidom.parse": "read:0:file",
    "xml.etree.ElementTree.parse": "read:0:source",
    "xml.etree.ElementTree.ElementTree.parse": "read:0:source",
    "urllib.robotparser.RobotFileParser": "url:0:url",
    "urllib.robotparser.RobotFileParser.set_url": "url:0:url",
    # Written by native code.
    "torchvision.io.write_file": "write:0:filename",
    "torchvision.io.write_jpeg": "write:1:filename",
    "torchvision.io.write_png": "write:1:filename",
    "torchvision.io.write_video": "write:0:filename",
    "torchvision.io.read_file": "read:0:path",
    "torchvision.io.read_image": "read:0:path",
    "torchvision.utils.save_image": "write:1:fp",
    # Texts that sympy evaluates; its functions call each other in ways that make everything evaluate everything.
    "sympy.S": "text:0:a",
    "sympy.simplify": "text:0:expr",
    "sympy.N": "text:0:x",
    "sympy.lambdify": "text:1:expr",
    "sympy.solve": "text:0:f",
    "scipy.io.savemat": "write:0:file_name",
    "scipy.io.mmwrite": "write:0:target",
    "scipy.io.wavfile.write": "write:0:filename",
    "scipy.sparse.save_npz": "write:0:file",
    "sklearn.datasets.dump_svmlight_file": "write:2:f",
    # Settings of torch's compilers, and objects that torch sends as tensors: pickles in both.
    "torch._dynamo.config.load_config": "pickle:0:maybe_pickled_config",
    "torch._inductor.config.load_config": "pickle:0:maybe_pickled_config",
    "torch._functorch.config.load_config": "pickle:0:maybe_pickled_config",
    "torch.utils._config_module.ConfigModule.load_config": "pickle:0:maybe_pickled_config",
    "torch.distributed.distributed_c10d._tensor_to_object": "pickle:0:tensor",
    # The .metadata file of a distributed checkpoint is a pickle.
    "torch.distributed.checkpoint.filesystem.FileSystemReader": "pickle:0:path",
    "torch.distributed.checkpoint.FileSystemReader": "pickle:0:path",
    "torch.distributed.checkpoint.state_dict_loader.load": "pickle:9:checkpoint_id",
    "torch.distributed.checkpoint.load": "pickle:9:checkpoint_id",
    "torch.distributed.checkpoint.format_utils.dcp_to_torch_save": "pickle:0:dcp_checkpoint_dir",
}
