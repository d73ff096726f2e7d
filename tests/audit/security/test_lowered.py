"""What stands below ``if __name__ == "__main__"`` is lowered only where no import can run it."""

import ast
from pathlib import Path

import pytest

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security.run import security_findings
from pinfold.folder.model_folder import ModelFolder, Module

MAIN = 'if __name__ == "__main__":\n    os.system("id")\n'


def severity(source, *others):
    """How bad the program is that the first file starts."""
    texts = {"m": source, **{f"module_{number}": text for number, text in enumerate(others, 1)}}
    modules = [Module(name, Path(f"{name}.py"), text, ast.parse(text)) for name, text in texts.items()]
    findings = security_findings(ModelFolder(Path("nowhere"), {}), modules, {})
    (finding,) = [f for f in findings if f.code == "S02" and f.file == "m.py"]
    return finding.severity


RUNS = {
    "a name of the class": "class A:\n    __name__ = '__main__'\n    if __name__ == '__main__':\n"
    "        os.system('')\n",
    "a name of the function": "def f():\n    __name__ = '__main__'\n    if __name__ == '__main__':\n"
    "        os.system('')\nf()\n",
    "a class in a function": "def f(__name__):\n    class A:\n        if __name__ == '__main__':\n"
    "            os.system('')\nf('__main__')\n",
    "an exception": "class E(Exception):\n    def __eq__(self, other):\n        return True\ntry:\n    raise E\n"
    "except E as __name__:\n    if __name__ == '__main__':\n        os.system('')\n",
    "an exception of a group": f"try:\n    f()\nexcept* E as __name__:\n    pass\n{MAIN}",
    "an item of vars": f"vars(sys.modules[__name__])['__name__'] = '__main__'\n{MAIN}",
    "an item of the dict": f"sys.modules[__name__].__dict__['__name__'] = '__main__'\n{MAIN}",
    "an update of the dict": f"sys.modules[__name__].__dict__.update(__name__='__main__')\n{MAIN}",
    "an update by a key that is computed": f"vars(sys.modules[__name__]).update({{key(): '__main__'}})\n{MAIN}",
    "a change in place": f"try:\n    sys.modules[__name__].__dict__ |= {{key(): 0}}\nexcept E:\n    pass\n{MAIN}",
    "__ior__": f"globals().__ior__({{key(): '__main__'}})\n{MAIN}",
    "a method that is handed on": f"list(map(globals().__setitem__, [key()], ['__main__']))\n{MAIN}",
    "the names handed on": f"change(globals())\n{MAIN}",
    "the module handed on": f"change(sys.modules[__name__])\n{MAIN}",
    "the module handed to a function": "def f(m):\n    m.__dict__[key()] = '__main__'\n"
    f"f(sys.modules[__name__])\n{MAIN}",
    "setattr": f"setattr(sys.modules[__name__], key(), '__main__')\n{MAIN}",
    "__setattr__": f"sys.modules[__name__].__setattr__(key(), '__main__')\n{MAIN}",
    "setattr of an unknown object": f"setattr(some(), '__na' + 'me__', '__main__')\n{MAIN}",
    "an attribute of an unknown object": f"some().__name__ = '__main__'\n{MAIN}",
    "another way to the module": f"import inspect\nvars(inspect.getmodule(f))[key()] = '__main__'\n{MAIN}",
    "a walrus": f"(__name__ := '__main__')\n{MAIN}",
    "a walrus in a comprehension": f"[[(__name__ := x) for x in ['__main__']] for _ in 'a']\n{MAIN}",
    "a loop": f"for a, (__name__, *b) in rows():\n    pass\n{MAIN}",
    "with": f"with some() as __name__:\n    pass\n{MAIN}",
    "an import": f"from a import b as __name__\n{MAIN}",
    "a plain import": f"import a as __name__\n{MAIN}",
    "a pattern": f"match some():\n    case __name__:\n        pass\n{MAIN}",
    "the rest of a pattern": f"match some():\n    case {{**__name__}}:\n        pass\n{MAIN}",
    "a star in a pattern": f"match some():\n    case [*__name__]:\n        pass\n{MAIN}",
    "global": f"def f():\n    global __name__\n    __name__ = '__main__'\nf()\n{MAIN}",
    "global in a class": f"class A:\n    global __name__\n    __name__ = '__main__'\n{MAIN}",
    "a function of that name": f"def __name__():\n    pass\n{MAIN}",
    "a class of that name": f"class __name__(str):\n    pass\n{MAIN}",
    "del": f"del __name__\n{MAIN}",
    "an addition": f"__name__ += 'x'\n{MAIN}",
    "an annotation": f"__name__: str = '__main__'\n{MAIN}",
    "frames": f"import inspect\ninspect.currentframe().f_globals[key()] = '__main__'\n{MAIN}",
}


@pytest.mark.parametrize("shape", RUNS)
def test_a_block_that_an_import_can_run_stays_an_error(shape):
    assert severity(f"import os, sys\n{RUNS[shape]}") == ERROR


@pytest.mark.parametrize(
    "other",
    [
        "from . import m\nm.__name__ = '__main__'\n",
        "from . import m\nvars(m)[key()] = '__main__'\n",
        "from . import m as other\nother.__dict__.update({key(): 0})\n",
    ],
)
def test_another_file_of_the_folder_can_change_the_name_too(other):
    assert severity(f"import os\n{MAIN}", other) == ERROR


STAYS = {
    "nothing else": "",
    "a name of a function": "def f(g):\n    def h():\n        pass\n    h.__name__ = g.__name__\n    return h\n",
    "a class by its name": "c = getattr(sys.modules[__name__], 'A')\n",
    "a name that is looked at": "print(getattr(f, '__name__', ''), hasattr(f, '__name__'))\n",
    "an exception": "try:\n    f()\nexcept ValueError as e:\n    print(e)\n",
    "a name of this file": "known = 'A' in globals()\n",
    "settings": "def f(config, **kwargs):\n    for k, v in kwargs.items():\n        setattr(config, k, v)\n",
}


@pytest.mark.parametrize("shape", STAYS)
def test_a_block_that_no_import_runs_is_a_warning(shape):
    assert severity(f"import os, sys\n{STAYS[shape]}{MAIN}") == WARNING
