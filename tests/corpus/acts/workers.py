"""Acts that others do for the code: workers, databases, tables of functions, names that a class looks up."""

from corpus.acts.folders import act

W, S, R = "writes a file", "secret", "reads a file"
NOTE = '\n\ndef note(place):\n@@    open(place, "w").close()\n\n'
FAMILIES = {
    "functions_of_workers": {
        "a": act(W, "from concurrent.futures import ThreadPoolExecutor\n" + NOTE + '\nwith ThreadPoolExecutor(1) as pool:\n    pool.submit(note, "mark").result()\n'),
        "b": act(W, "import asyncio\n" + NOTE, init='asyncio.run(asyncio.to_thread(note, "mark"))'),
        "c": act(W, "from joblib import Parallel, delayed\n" + NOTE, forward='Parallel(1)(delayed(note)(place) for place in ["mark"])'),
        "d": act(W, "import threading\n\n\nclass Late(threading.Thread):\n    def run(self):\n@@        open(self.name, \"w\").close()\n\n", init='late = Late(name="mark")\nlate.start()\nlate.join()'),
    },
    "functions_of_workers_more": {
        "a": act(W, "from torch.utils.data import DataLoader\n\n\ndef seed(number):\n@@    open(\"mark\", \"w\").close()\n\n", forward="list(DataLoader([1, 2], num_workers=1, worker_init_fn=seed))"),
        "b": act(W, "import multiprocessing as many\n" + NOTE, init='context = many.get_context("fork")\nchild = context.Process(target=note, args=("mark",))\nchild.start()\nchild.join()'),
        "c": act(W, "import contextlib\n" + NOTE, forward='with contextlib.ExitStack() as stack:\n    stack.callback(note, "mark")'),
        "d": act(W, "import sched\n" + NOTE, init='clock = sched.scheduler()\nclock.enter(0, 1, note, ("mark",))\nclock.run()'),
    },
    "texts_for_databases": {
        "a": act(W, "import sqlite3\n\n@@sqlite3.connect(\":memory:\").executescript(\"ATTACH 'mark' AS b; CREATE TABLE b.t(a)\")\n"),
        "b": act(W, "import sqlite3\n", init='base = sqlite3.connect(":memory:")\nbase.execute("CREATE TABLE t(a)")\n@@base.execute("VACUUM INTO ?", ("mark",))'),
        "c": act(W, "import sqlite3\n", forward='base = sqlite3.connect(":memory:").cursor()\nquery = f"attach \'{self.config.model_type[:4]}mark\' as b"\n@@base.execute(query)\nbase.execute("CREATE TABLE b.t(a)")'),
        "d": act(W, "import sqlite3\n", init='base = sqlite3.connect(":memory:")\nbase.execute("CREATE TABLE t(a)")\n@@base.execute("-- a copy\\nvacuum main into \'%s\'" % "mark")'),
    },
    "tables_in_a_class": {
        "a": act(W, "\n\nclass Steps:\n    table = {\n        \"plain\": lambda place: place,\n@@        \"note\": lambda place: open(place, \"w\").close(),\n    }\n\n    def go(self, name):\n        return self.table[name](\"mark\")\n\n", init='Steps().go("note")'),
        "b": act(W, "\n\nclass Steps:\n@@    note = staticmethod(lambda place: open(place, \"w\").close())\n\n", forward='Steps().note("mark")'),
        "c": act(W, "\n\nclass Base:\n@@    steps = (len, lambda place: open(place, \"w\").close())\n\n\nclass Steps(Base):\n    pass\n\n\nfor step in Steps.steps:\n    step(\"mark\")\n"),
        "d": act(W, "\n\nclass Steps:\n    @staticmethod\n    def note(place):\n@@        open(place, \"w\").close()\n\n", init='Steps.note("mark")'),
    },
    "names_that_a_class_looks_up": {
        "a": act(S, "\n\nclass Process:\n    base = \"/proc/self\"\n\n    def __getattr__(self, name):\n@@        with open(\"/\".join((self.base, name)), \"rb\") as file:\n            return file.read()\n\n", init="self.note = Process().environ"),
        "b": act(R, "\n\nclass Box:\n    def __init__(self, root):\n        self.root = root\n\n    def __getattr__(self, name):\n@@        with open(self.root + name) as file:\n            return file.read()\n\n", forward='Box("/etc/").hostname'),
        "c": act(S, "import os\n\n\nclass Late:\n    def __getattr__(self, name):\n        return getattr(os, name)\n\n", init="@@self.note = dict(Late().environ)"),
        "d": act(S, "import os\n\n\ndef part(number, name):\n@@    with open(\"/proc/{}/{}\".format(number, name), \"rb\") as file:\n        return file.read()\n\n", init='self.note = part(os.getpid(), "environ")'),
    },
}  # fmt: skip
