"""Programs that act by what others run for them: processes, threads, pools, databases, tables; see names.py."""

# ruff: noqa: E501 (lines of programs)

IN = "class M:\n    def forward(self, x):\n        "
KINDS: dict[str, tuple[str, list[str]]] = {
    "a process that a context makes": (
        "S02",
        [
            "import multiprocessing as mp\ndef work(n): pass\nclass M:\n    def __init__(self, config):\n"
            '        self.context = mp.get_context("fork")\n    def forward(self, x):\n'
            "        self.child = self.context.Process(target=work, args=(1,), daemon=True)\n"
            "        self.child.start()  #!",
            "from multiprocessing.context import SpawnContext\n" + IN + "c = SpawnContext()\n"
            "        p = c.Process(target=print)\n        p.start()  #!",
            "import multiprocessing\nC = multiprocessing.get_context()\nclass W(C.Process):\n    def run(self):\n"
            "        pass\n" + IN + "w = W()\n        w.daemon = True\n        w.start()  #!",
            "import torch\ndef work(n): pass\n" + IN + 'c = torch.multiprocessing.get_context("spawn")\n'
            "        pool = c.Pool(2)\n        return pool.imap_unordered(work, x)  #!",
        ],
    ),
    "what a thread of the folder's own class runs": (
        "S03",
        [
            "import threading, urllib.request\nclass W(threading.Thread):\n    def run(self):\n"
            '        urllib.request.urlopen("http://a/b")  #!\n' + IN + "W().start()",
            "from threading import Thread\nfrom urllib.request import urlopen\nclass W(Thread):\n"
            "    def __init__(self, place):\n        super().__init__()\n        self.place = place\n"
            "    def run(self):\n        urlopen(self.place)  #!\n" + IN + "w = W(x)\n        w.start()",
            "import torch.multiprocessing as mp, urllib.request\nclass Base(mp.Process):\n    pass\nclass W(Base):\n"
            '    def run(self):\n        urllib.request.urlopen("http://a/b")  #!\nclass M:\n'
            "    def __init__(self, config):\n        self.w = W()\n    def forward(self, x):\n"
            "        self.w.start()",
        ],
    ),
    "the place of a process's own data, put together": (
        "S08",
        [
            "def read(pid, name):\n    return open('/proc/' + str(pid) + '/' + name, 'rb').read()  #!",
            "import os\n" + IN + 'fd = os.open(os.path.join("/proc", "self", x.name), os.O_RDONLY)  #!',
            'def read(name):\n    return open("/proc/{}/{}".format("self", name)).read()  #!',
            "import os\n" + IN + 'for pid in map(int, x):\n            open(f"/proc/{pid}/cmdline").read()  #!',
            'def read(name):\n    return open("/proc/%d/%s" % (1, name)).read()  #!',
            'import os\ndef read(x):\n    return os.readlink("/proc/" + x + "/exe")  #!',
            'def read(x):\n    return open(f"/proc/self/task/{x}/environ")  #!',
        ],
    ),
    "a place that a class's own __getattr__ is asked for": (
        "S08",
        [
            'class P:\n    base = "/proc/self"\n    def __getattr__(self, item):\n'
            '        with open("/".join((self.base, item)), "rb") as f:  #!\n            return f.read()\n'
            "    def start_values(self):\n        return self.environ",
            "class Box:\n    def __init__(self, root):\n        self.root = root\n    def __getattr__(self, key):\n"
            "        return open(self.root + key).read()  #!\n" + IN + 'return Box("/etc/").hostname',
            "class Box:\n    def __getattr__(self, key):\n        return open('/' + key.replace('_', '/'))  #!\n"
            + IN
            + 'return getattr(Box(), "etc_hostname")',
        ],
    ),
    "a function that workers are handed": (
        "S08",
        [
            "from concurrent.futures import ThreadPoolExecutor\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        with ThreadPoolExecutor() as e:\n            return e.submit(read, '/etc/hostname').result()",
            "from joblib import Parallel, delayed\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        return Parallel(2)(delayed(read)(p) for p in ['/etc/hostname'])",
            "import torch.multiprocessing as mp\ndef read(rank, place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        mp.start_processes(read, args=('/etc/hostname',), nprocs=1)",
            "import threading\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        threading.Timer(1, read, ('/etc/hostname',)).start()",
            "import asyncio\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    async def forward(self, x):\n        await asyncio.get_running_loop().run_in_executor(None, read, '/etc/hostname')",
            "import asyncio\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        asyncio.run(asyncio.to_thread(read, '/etc/hostname'))",
            "import multiprocessing\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        multiprocessing.get_context('spawn').Pool(1, initializer=read, initargs=('/etc/hostname',))",
            "from multiprocessing.pool import ThreadPool\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        return ThreadPool(2).starmap(read, [('/etc/hostname',)])",
            "def read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        return self.pool.apply_async(read, ('/etc/hostname',))",
            "def read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        return self.pool.submit(read, x.place if x else '/etc/hostname')",
            "import contextlib\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        with contextlib.ExitStack() as stack:\n            stack.callback(read, '/etc/hostname')",
            "import sched\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        s = sched.scheduler()\n        s.enter(1, 1, read, ('/etc/hostname',))\n        s.run()",
            "import weakref\ndef read(place):\n    return open(place).read()  #!\nclass M:\n    def forward(self, x):\n        weakref.finalize(self, read, '/etc/hostname')",
            "from concurrent.futures import ThreadPoolExecutor as T\nclass M:\n    def forward(self, x):\n        with T() as e:\n            return e.submit(open, '/etc/hostname').result()  #!",
            "import os\nclass M:\n    def forward(self, x):\n        return self.pool.submit(os.listdir, '/etc')  #!",
        ],
    ),
    "a function that workers are handed when the file is imported": (
        "S12",
        [
            "import os\nfrom torch.utils.data import DataLoader\ndef seed(n):\n    os.remove('a')\nfor x in DataLoader([1], num_workers=1, worker_init_fn=seed):  #!\n    pass",
            "import os, torch\ndef wipe(module):\n    os.remove('a')\ntorch.nn.Linear(2, 2).apply(wipe)  #!",
            "import os, atexit\ndef wipe():\n    os.remove('a')\natexit.register(wipe)  #!",
            "import os\nfrom joblib import Parallel, delayed\ndef wipe(place):\n    os.remove(place)\nParallel(2)(delayed(wipe)(p) for p in ['a'])  #!",
            "import os, threading\nclass W(threading.Thread):\n    def run(self):\n        os.remove('a')\nW().start()  #!",
        ],
    ),
    "a text for a database that writes a file": (
        "S07",
        [
            "import sqlite3\nclass M:\n    def forward(self, x):\n        c = sqlite3.connect(':memory:')\n        c.execute(f\"ATTACH DATABASE '{x}' AS other\")  #!",
            "import sqlite3\nclass M:\n    def forward(self, x):\n        c = sqlite3.connect(':memory:')\n        c.executescript(\"create table t(a); VACUUM INTO '/tmp/a.db';\")  #!",
            "import sqlite3\nclass M:\n    def forward(self, x):\n        c = sqlite3.connect(':memory:')\n        cursor = c.cursor()\n        cursor.execute('VACUUM main INTO ?', (x,))  #!",
            "import sqlite3\nclass M:\n    def forward(self, x):\n        c = sqlite3.connect(':memory:')\n        c.execute(\"-- a note\\n attach '%s' as b\" % x)  #!",
            "import sqlite3\nclass M:\n    def forward(self, x):\n        c = sqlite3.connect(':memory:')\n        q = f\"vacuum into '{x}'\"\n        c.execute(q)  #!",
            "import duckdb\nclass M:\n    def forward(self, x):\n        duckdb.sql(\"COPY (SELECT 1) TO '/tmp/a.csv' (FORMAT csv)\")  #!",
            "import duckdb\nclass M:\n    def forward(self, x):\n        duckdb.connect().execute(\"EXPORT DATABASE '/tmp/a'\")  #!",
            "class M:\n    def forward(self, x):\n        self.db.execute(\"SELECT a INTO OUTFILE '/tmp/a' FROM t\")  #!",
            "Q = 'ATTACH ? AS other'\nclass M:\n    def forward(self, x):\n        self.db.cursor().execute(Q, ('/tmp/a',))  #!",
            "import pandas as pd\nclass M:\n    def forward(self, x):\n        pd.read_sql(\"SELECT writefile('/tmp/a', a) FROM t\", self.db)  #!",
            "from sqlalchemy import text\nclass M:\n    def forward(self, x):\n        self.db.execute(text(\"VACUUM INTO '{}'\".format(x)))  #!",
        ],
    ),
    "a database in a file": (
        "S07",
        [
            "import duckdb\nclass M:\n    def forward(self, x):\n        duckdb.connect('/tmp/a.db')  #!",
            "from sqlalchemy import create_engine\nclass M:\n    def forward(self, x):\n        create_engine('sqlite:////tmp/a.db')  #!",
            "import apsw\nclass M:\n    def forward(self, x):\n        apsw.Connection(self.place)  #!",
            "import lmdb\nclass M:\n    def forward(self, x):\n        lmdb.open('/tmp/a')  #!",
        ],
    ),
    "a text for a database that reads a file of the user's": (
        "S08",
        [
            "import duckdb\nclass M:\n    def forward(self, x):\n        return duckdb.query(\"select * from read_text('/etc/hostname')\")  #!",
            "import duckdb\nclass M:\n    def forward(self, x):\n        return duckdb.sql(\"from '/home/u/a.csv'\")  #!",
            "class M:\n    def forward(self, x):\n        self.db.execute(\"COPY t FROM '/etc/hosts'\")  #!",
        ],
    ),
    "a text that has a database start a program": (
        "S02",
        [
            "class M:\n    def forward(self, x):\n        self.db.cursor().execute(\"copy t to program 'id'\")  #!",
            "class M:\n    def forward(self, x):\n        self.db.execute('CREATE TABLE t(a); COPY t FROM PROGRAM %s', ('id',))  #!",
            "Q = \"copy (select 1) to program 'touch a'\"\nclass M:\n    def forward(self, x):\n        self.db.execute(Q)  #!",
        ],
    ),
    "a text that has a database load native code": (
        "S05",
        [
            "import duckdb\nclass M:\n    def forward(self, x):\n        duckdb.execute('LOAD spatial')  #!",
            "import sqlite3\nclass M:\n    def forward(self, x):\n        c = sqlite3.connect(':memory:')\n        c.execute(\"SELECT load_extension('./a')\")  #!",
            'class M:\n    def forward(self, x):\n        self.db.execute("INSTALL httpfs; LOAD httpfs;")  #!',
        ],
    ),
    "what moves bytes from one descriptor to another": (
        "S07",
        [
            "import os\nclass M:\n    def forward(self, x):\n        os.sendfile(self.out, x, 0, 10)  #!",
            "from os import copy_file_range\nclass M:\n    def forward(self, x):\n        copy_file_range(x, self.out, 10)  #!",
            "import os\nclass M:\n    def forward(self, x):\n        getattr(os, 'spl' + 'ice')(x, self.out, 3)  #!",
        ],
    ),
    "what sends an open file": (
        "S03",
        [
            "class M:\n    def forward(self, x):\n        self.loop.sendfile(self.transport, x)  #!",
            "class M:\n    async def forward(self, x):\n        await self.loop.sock_sendfile(self.sock, x)  #!",
            "import socket\nclass M:\n    def forward(self, x):\n        socket.create_connection(('127.0.0.1', 9)).sendfile(x)  #!",
        ],
    ),
    "what a lambda in a table of a class gets": (
        "S08",
        [
            "class M:\n    OPS = {\n        'a': lambda p: open(p).read(),  #!\n        'b': lambda p: p,\n    }\n    def forward(self, x, kind):\n        return self.OPS[kind]('/etc/hostname')",
            "import numpy as np\nclass M:\n    LOADERS = [np.asarray, lambda p, n=1: np.fromfile(p)]  #!\n    def forward(self, x):\n        return type(self).LOADERS[x.kind]('/etc/hostname')",
            "class Base:\n    steps = (('read', lambda p: open(p)),)  #!\nclass M(Base):\n    def forward(self, x):\n        for name, step in self.steps:\n            if name == x:\n                step('/etc/hostname')",
            "class M:\n    read = staticmethod(lambda p: open(p))  #!\n    def forward(self, x):\n        return self.read('/etc/hostname')",
            "class M:\n    @staticmethod\n    def read(p):\n        return open(p)  #!\n    def forward(self, x):\n        return M.read('/etc/hostname')",
            "class M:\n    OPS: dict = {'a': lambda p: open(p)}  #!\n    def forward(self, x):\n        return self.OPS.get(x)('/etc/hostname')",
        ],
    ),
    "the call of what a table of a class holds": (
        "S07",
        [
            "import os\nclass M:\n    OPS = {'a': lambda p: os.remove(p), 'b': lambda p: p}\n    def forward(self, x, kind):\n        return self.OPS[kind](x)  #!",
            "import os\nclass M:\n    def __init__(self, config):\n        self.ops = {'a': os.remove, 'b': len}\n    def forward(self, x, kind):\n        return self.ops[kind](x)  #!",
            "import os\ndef wipe(p):\n    os.remove(p)\nclass M:\n    OPS = [len, wipe]\n    def forward(self, x, kind):\n        return type(self).OPS[kind](x)  #!",
            "import os\nclass M:\n    OPS = {'a': lambda p: os.remove(p), 'b': lambda p: p}\n    def forward(self, x, kind):\n        return self.OPS.get(kind)(x)  #!",
        ],
    ),
}
