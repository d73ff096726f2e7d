"""Acts in the hooks of the language: classes, decorators, callbacks, operators, properties, conditions, endings."""

from corpus.acts.folders import act

P, T, W, S = "runs a program", "runs text", "writes a file", "secret"
OS = "import os\n"
FAMILIES = {
    "class_hooks": {
        "a": act(P, OS + '\n\nclass Base:\n    def __init_subclass__(cls):\n@@        os.system("touch mark")\n\n\nclass Part(Base):\n    pass\n'),
        "b": act(P, OS + '\n\nclass Field:\n    def __set_name__(self, owner, name):\n@@        os.system("touch mark")\n\n', body="field = Field()"),
        "c": act(P, OS + '\n\nclass Kind(type):\n    def __new__(mcs, name, bases, space):\n@@        os.popen("touch mark").close()\n        return super().__new__(mcs, name, bases, space)\n\n\nclass Part(metaclass=Kind):\n    pass\n'),
    },
    "descriptors": {
        "a": act(P, OS + '\n\nclass Width:\n    def __get__(self, owner, kind=None):\n@@        os.system("touch mark")\n        return 2\n\n', body="size = Width()", forward="self.size"),
        "b": act(W, "", methods='@property\ndef size(self):\n@@    open("mark", "w").close()\n    return 2', forward="assert self.size == 2"),
        "c": act(P, "import functools\nimport subprocess\n", methods='@functools.cached_property\ndef size(self):\n@@    return subprocess.call(["touch", "mark"])', init="self.size"),
    },
    "shown_and_saved": {
        "a": act(P, OS, methods='def extra_repr(self):\n@@    os.system("touch mark")\n    return ""'),
        "b": act(W, "", methods='def __repr__(self):\n@@    open("mark", "w").close()\n    return "tiny"'),
        "c": act(P, OS, methods='def state_dict(self, *args, **kwargs):\n@@    os.system("touch mark")\n    return super().state_dict(*args, **kwargs)', loads=["save"]),
    },
    "module_getattr": {
        "a": act(P, OS + '\n\ndef __getattr__(name):\n@@    os.system("touch mark")\n    raise AttributeError(name)\n'),
        "b": act(P, "from . import sizes\n\n# from .sizes import x\nTEXT = '''\nfrom .sizes import x\n'''\n", files={"sizes.py": OS + '\n\ndef __getattr__(name):\n    if name == "width":\n@@        os.system("touch mark")\n        return 2\n    raise AttributeError(name)\n'}, init="sizes.width"),
        "c": act(P, OS + '\n\nclass Lazy:\n    def __getattr__(self, name):\n@@        return os.system("touch mark")\n\n\nlazy = Lazy()\n', forward="lazy.anything"),
    },
    "endings": {
        "a": act(P, OS + '\n\nclass Part:\n    def __del__(self):\n@@        os.system("touch mark")\n\n\nPart()\n'),
        "b": act(P, OS + "import weakref\n", init='@@weakref.finalize(self, os.system, "touch mark")'),
        "c": act(P, "import contextlib\nimport subprocess\n", forward='with contextlib.ExitStack() as stack:\n@@    stack.callback(subprocess.run, ["touch", "mark"])'),
    },
    "decorators": {
        "a": act(P, OS + '\n\n@@@os.system\n@lambda f: "touch mark"\ndef part():\n    pass\n'),
        "b": act(T, "@@@exec\n@lambda kind: \"open('mark', 'w').close()\"\nclass Part:\n    pass\n"),
        "c": act(P, OS + '\n\ndef register(command):\n@@    os.system(command)\n    return lambda f: f\n\n', body='@register("touch mark")\ndef part(self):\n    pass\n'),
    },
    "callbacks": {
        "a": act(P, OS + '\n@@list(map(os.system, ["touch mark"]))\n'),
        "b": act(P, OS + "import functools\n", init='run = functools.partial(os.system, "touch mark")\n@@run()', at=[("modeling_tiny.py", "functools.partial(")]),
        "c": act(P, OS, forward='@@sorted(["touch mark"], key=os.system)'),
    },
    "callbacks_more": {
        "a": act(T, "import re\n\n@@re.sub(\".+\", lambda m: str(eval(m[0])), \"open('mark', 'w').close()\")\n"),
        "b": act(P, OS, init='self.register_forward_hook(lambda *args: None)\n@@next(iter(lambda: os.system("touch mark"), 1))'),
        "c": act(P, OS + "import operator\n", forward='@@operator.methodcaller("system", "touch mark")(os)'),
    },
    "callbacks_of_torch": {
        "a": act(P, OS, init='@@self.linear.register_forward_pre_hook(lambda module, inputs: print(os.system("touch mark")))'),
        "b": act(P, OS, forward='@@torch.utils._pytree.tree_map(os.system, ["touch mark"])', methods=""),
        "c": act(W, "", init='@@self.apply(lambda module: open("mark", "w").close())'),
    },
    "operators": {
        "a": act(P, OS + '\n\nclass Box:\n    __getitem__ = staticmethod(os.system)\n\n\n@@Box()["touch mark"]\n', at=[("modeling_tiny.py", "__getitem__")]),
        "b": act(P, OS + '\n\nclass Shell:\n    def __or__(self, text):\n@@        return os.system(text)\n\n', init='Shell() | "touch mark"'),
        "c": act(P, OS + '\n\nclass Guard:\n    def __enter__(self):\n        return self\n\n    def __exit__(self, *args):\n@@        os.system("touch mark")\n\n', forward="with Guard():\n    pass"),
    },
    "class_items": {
        "a": act(P, OS + '\n\nclass Box:\n@@    __class_getitem__ = os.system\n\n\nBox["touch mark"]\n', at=[("modeling_tiny.py", 'Box["')]),
        "b": act(P, OS + '\n\nclass Each:\n    def __iter__(self):\n@@        yield os.system("touch mark")\n\n', init="list(Each())"),
        "c": act(P, "import subprocess\n\n\nclass Call(subprocess.Popen):\n    pass\n\n", forward='@@Call(["touch", "mark"]).wait()', at=[("modeling_tiny.py", "class Call")]),
    },
    "conditions": {
        "a": act(P, OS + 'import time\n\nif time.time() > 1_000_000:\n@@    os.system("touch mark")\n'),
        "b": act(P, OS, init='try:\n    {}["a"]\nexcept KeyError:\n@@    os.system("touch mark")'),
        "c": act(P, OS + "import sys\n", forward='match sys.platform:\n    case "none":\n        pass\n    case _ if not self.training:\n@@        os.system("touch mark")'),
    },
    "expressions": {
        "a": act(P, OS + '\n\n@@def part(size=os.system("touch mark")):\n    return size\n'),
        "b": act(P, OS, init='@@sizes = [code for code in (os.system(text) for text in ["touch mark"])]'),
        "c": act(P, OS, forward="@@name = f\"{os.system('touch mark')}\""),
    },
    "dataclasses_and_enums": {
        "a": act(P, OS + 'from dataclasses import dataclass, field\n\n\n@dataclass\nclass Sizes:\n@@    width: int = field(default_factory=lambda: os.system("touch mark"))\n\n\nSizes()\n'),
        "b": act(P, OS + 'import enum\n\n\nclass Kind(enum.Enum):\n@@    A = os.system("touch mark")\n'),
        "c": act(P, OS + 'from collections import defaultdict\n\n', forward='@@table = defaultdict(lambda: os.system("touch mark"))\ntable["a"]'),
    },
    "native_code": {
        "a": act(P, 'import ctypes\n\n@@ctypes.CDLL(None).system(b"touch mark")\n', seen=["file:"]),
        "b": act(P, "import ctypes\n", init='call = ctypes.pythonapi.PyRun_SimpleString\n@@call(b"import os; os.system(\'touch mark\')")'),
        "c": act(P, "from ctypes import util, cdll\n", forward='@@cdll.LoadLibrary(util.find_library("c"))["system"](b"touch mark")', seen=["file:"]),
    },
    "assigned_names": {
        "a": act(P, OS + '\nrun, size = os.system, 2\n@@run("touch mark")\n', at=[("modeling_tiny.py", "run, size")]),
        "b": act(P, OS, body="act = staticmethod(os.system)", forward='@@self.act("touch mark")', at=[("modeling_tiny.py", "staticmethod(os")]),
        "c": act(P, OS + "\n\nTABLE = {}\nTABLE.setdefault(\"run\", os.popen)\n", init='@@TABLE["run"]("touch mark").close()', at=[("modeling_tiny.py", "setdefault")]),
    },
}  # fmt: skip
