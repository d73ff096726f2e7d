from corpus.acts.folders import act

P, T, W, S = "runs a program", "runs text", "writes a file", "secret"
OS = "import os\n"
FAMILIES = {
    "class_hooks": {
        "d": act(
            W,
            'import abc\n\n\nclass Kind(abc.ABCMeta):\n    @classmethod\n    def __prepare__(mcs, name, bases, **more):\n@@        open(more["place"], "w").close()\n        return {}\n\n    def __new__(mcs, *parts, **more):\n        return super().__new__(mcs, *parts)\n\n    def __init__(cls, *parts, **more):\n        pass\n\n\nclass Part(metaclass=Kind, place="mark"):\n    pass\n',
        )
    },
    "descriptors": {
        "d": act(
            P,
            'from subprocess import getstatusoutput\n\n\nclass Size:\n    def __set__(self, owner, value):\n@@        owner.__dict__["kept"] = getstatusoutput("touch mark")\n\n    def __get__(self, owner, kind=None):\n        return 2\n\n',
            body="scale = Size()",
            forward="self.scale = 3",
        )
    },
    "shown_and_saved": {
        "d": act(
            P,
            OS,
            methods='def get_extra_state(self):\n@@    os.system("touch mark")\n    return torch.zeros(1)\n\ndef set_extra_state(self, state):\n    pass',
            forward="self.state_dict()",
        )
    },
    "module_getattr": {
        "d": act(
            P,
            'import subprocess\nimport sys\nimport types\n\n\nclass Loud(types.ModuleType):\n    def __getattribute__(self, name):\n        if name == "TinyModel":\n@@            subprocess.run(["touch", "mark"])\n        return super().__getattribute__(name)\n\n\nsys.modules[__name__].__class__ = Loud\n',
        )
    },
    "endings": {
        "d": act(
            P,
            OS,
            forward='def steps():\n    try:\n        yield 1\n    finally:\n@@        os.system("touch mark")\n\nnext(steps())',
        )
    },
    "decorators": {
        "d": act(
            P,
            'import functools\nimport subprocess\n\n\ndef traced(function):\n    @functools.wraps(function)\n    def inner(*args, **kwargs):\n@@        subprocess.check_output(["touch", "mark"])\n        return function(*args, **kwargs)\n\n    return inner\n\n',
            methods="@traced\ndef scale(self, x):\n    return x",
            forward="inputs = self.scale(inputs)",
        )
    },
    "callbacks": {
        "d": act(
            P,
            "import itertools\nimport subprocess\n",
            config='@@all(itertools.starmap(subprocess.call, [(["touch", "mark"],)]))',
        )
    },
    "callbacks_more": {
        "d": act(
            P,
            OS + "import threading\n",
            init='@@threading.local.__call__ if False else max(["touch mark"], key=lambda text: os.spawnvp(os.P_WAIT, "touch", text.split()))'.replace(
                "threading.local.__call__ if False else ", ""
            ),
        )
    },
    "callbacks_of_torch": {
        "d": act(
            P,
            OS,
            methods='class Step(torch.autograd.Function):\n    @staticmethod\n    def forward(ctx, x):\n@@        os.system("touch mark")\n        return x.clone()\n\n    @staticmethod\n    def backward(ctx, grad):\n        return grad',
            forward="inputs = self.Step.apply(inputs)",
        )
    },
    "operators": {
        "d": act(
            T,
            "class Text(str):\n    def __matmul__(self, other):\n@@        return exec(self + other)\n\n",
            config="Text(\"open('mark',\") @ \"'w').close()\"",
        )
    },
    "class_items": {
        "d": act(
            W,
            'class Meta(type):\n    def __call__(cls, *args):\n@@        print("", file=open("mark", "w"))\n        return super().__call__()\n\n\nclass Norm(metaclass=Meta):\n    pass\n\n',
            init="Norm(2)",
        )
    },
    "conditions": {
        "d": act(
            P,
            OS,
            forward='while (left := getattr(self, "left", 2)):\n    self.left = left - 1\n    if left == 1:\n@@        os.system("touch mark")\nelse:\n    self.left = 2',
        )
    },
    "expressions": {"d": act(P, OS, config='@@assert (lambda text: not os.system(text))("touch mark"), "never"')},
    "dataclasses_and_enums": {
        "d": act(
            P,
            'from dataclasses import dataclass\nimport subprocess\n\n\n@dataclass\nclass Sizes:\n    width: int = 2\n\n    def __post_init__(self):\n@@        subprocess.Popen(["touch", "mark"]).wait()\n\n',
            forward="Sizes(width=3)",
        )
    },
    "native_code": {
        "d": act(
            P,
            "import _ctypes\nimport ctypes\n",
            init='handle = _ctypes.dlopen("libc.so.6", 2)\n@@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p)(_ctypes.dlsym(handle, "system"))(b"touch mark")',
            seen=["file:"],
            at=[("modeling_tiny.py", "_ctypes.dlopen")],
        )
    },
    "assigned_names": {
        "d": act(
            P,
            OS
            + "from types import SimpleNamespace as Space\n\ntools = Space(ops=Space())\ntools.ops.scale = os.system\n",
            forward='for operation in vars(tools.ops).values():\n@@    operation("touch mark")',
            at=[("modeling_tiny.py", "ops.scale = ")],
        )
    },
}
