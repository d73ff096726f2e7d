"""`pinfold hub` with its clock and faults set through standard input: the server under hub_storm.py.

One command a line: "clock SECONDS" shifts the time, "arm NAME" plans a fault of pinfold/hub/storage/faults.py for the
next time that its point is reached, "disarm" takes it back. Each is answered by a line.
"""

import sys
import threading
import time

now = time.time
shift = 0.0


def shifted() -> float:
    return now() + shift


def listen() -> None:
    from pinfold.hub.storage import faults

    global shift
    for line in sys.stdin:
        verb, _, value = line.strip().partition(" ")
        if verb == "clock":
            shift = float(value)
        else:
            faults._armed.clear()
            faults._visits.clear()
            if verb == "arm":
                faults.arm(value)
        print("done", flush=True)


if __name__ == "__main__":
    from pinfold.cli.main import main

    time.time = shifted
    threading.Thread(target=listen, daemon=True).start()
    sys.exit(main(sys.argv[1:]))
