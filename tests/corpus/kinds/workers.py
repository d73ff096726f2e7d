"""Programs that act by what others run for them: processes, threads, pools, databases, tables; see names.py."""

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
}
