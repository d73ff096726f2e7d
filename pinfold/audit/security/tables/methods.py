"""What methods do by their names, on whatever object they are called."""

IMPORTS = "imports code by a name that is computed at run time"
LOADS = "unpickles, and a pickle runs whatever it names"
NATIVE = "runs native code that no audit of Python reads"
NETWORK = "reaches the network"
PATCH = "changes Python itself for everything else that runs"
STARTS = "starts another program"
TOKEN = "gives the user's token for the Hub"

# Methods whose name says what they do on whatever object they are called.
METHODS = {
    "system": ("S02", STARTS),
    "popen": ("S02", STARTS),
    "Popen": ("S02", STARTS),
    "check_output": ("S02", STARTS),
    "check_call": ("S02", STARTS),
    "getoutput": ("S02", STARTS),
    "getstatusoutput": ("S02", STARTS),
    "create_subprocess_shell": ("S02", STARTS),
    "create_subprocess_exec": ("S02", STARTS),
    "subprocess_exec": ("S02", STARTS),
    "exec_command": ("S02", "starts a program on another machine"),
    "subprocess_shell": ("S02", STARTS),
    "fork_exec": ("S02", STARTS),
    "execve": ("S02", STARTS),
    "execvp": ("S02", STARTS),
    "urlopen": ("S03", NETWORK),
    "urlretrieve": ("S03", NETWORK),
    "create_datagram_endpoint": ("S03", NETWORK),
    "create_unix_connection": ("S03", NETWORK),
    "create_unix_server": ("S03", NETWORK),
    "sock_connect": ("S03", NETWORK),
    "to_clipboard": ("S08", "changes what the user has copied"),
    "delete_revisions": ("S07", "deletes what others have downloaded"),
    "clipboard_get": ("S08", "reads what the user has copied"),
    "remote_exec": ("S01", "runs text as a program"),
    "create_connection": ("S03", NETWORK),
    "sendfile": ("S03", "sends a file over the network"),
    "sock_sendfile": ("S03", "sends a file over the network"),
    "import_module": ("S04", IMPORTS),
    "exec_module": ("S04", IMPORTS),
    "load_module": ("S04", IMPORTS),
    "load_entry_point": ("S04", IMPORTS),
    "run_script": ("S04", IMPORTS),
    "load_library": ("S05", NATIVE),
    "LoadLibrary": ("S05", NATIVE),
    "CDLL": ("S05", NATIVE),
    "load_inline": ("S05", NATIVE),
    "rmtree": ("S07", "deletes a whole directory"),
    "extractall": ("S07", "unpacks an archive, whose members can be written anywhere"),
    "settrace": ("S11", PATCH),
    "__import__": ("S04", IMPORTS),
    "tofile": ("S07", "writes a file"),
    "to_pickle": ("S07", "writes a file"),
    "to_csv": ("S07", "writes a file"),
    "read_pickle": ("S06", LOADS),
    "runcode": ("S01", "runs text as a program"),
    "runsource": ("S01", "runs text as a program"),
    "set_codegen": ("S01", "adds text to the program that torch.fx makes and runs"),
    "on_generate_code": ("S01", "adds text to the program that torch.fx makes and runs"),
    "build_hf_headers": ("S08", TOKEN),
    "_build_hf_headers": ("S08", TOKEN),
    "get_token_to_send": ("S08", TOKEN),
}
