"""The world of the benchmark: the host's BIRD, the router's BIRD with a BGP session, and the programs to measure.

`run` has put this process on the host: its own namespaces, with a router beside it, which vanish when it ends.
Times are seconds on CLOCK_MONOTONIC.
"""

import datetime
import os
import signal
import socket
import struct
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TWO_BIRDS = os.path.join(HERE, "../../examples/two-birds")
DUMMIES = {"anycast-prefixes.conf": ("ACAST_PS_ADVERTISE", "10.189.200.255/32"),
           "6/anycast-prefixes.conf": ("ACAST6_PS_ADVERTISE", "2001:db8::1/128")}


class GaveUp(Exception):
    """A wait has timed out."""


def wait_for(what, condition, limit, pause=0.05):
    """Waits until `condition()` is true. Names what it waited for if it times out."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise GaveUp(f"{what}: not in {limit:g} s")
        time.sleep(pause)


class World:
    """Two BIRDs, a session between them, and the addresses of `services` services on the host's loopback."""

    def __init__(self, directory, services):
        self.directory = directory
        self.prefixes = [f"10.64.{n // 250}.{n % 250 + 1}/32" for n in range(services)]
        os.makedirs(self.file("6"))
        self.touch("flag")
        for name in ("host.conf", "router.conf"):
            with open(os.path.join(TWO_BIRDS, name)) as text:
                self.write(name, text.read())
        self.list([])
        self.moves, self.now, self.moves_read = [], set(), 0
        self.spawn(["nsenter", "--net=/run/netns/router", "ip", "-ts", "-o", "-4", "monitor", "route"], "routes")
        self.spawn(["nsenter", "--net=/run/netns/router", *self.bird("router")], "router.log")
        self.addressed = 0
        self.address(services)
        self.spawn(self.bird("host"), "host.log")
        wait_for("a BGP session", lambda: "Established" in self.birdc("show", "protocols", "router4"), 60)
        threading.Thread(target=self.keep_awake, args=("router",), daemon=True).start()

    def address(self, services):
        """Assigns the addresses of that many services to the loopback interface. More would slow down their readers."""
        few, many = sorted((services, self.addressed))
        word = "add" if services > self.addressed else "del"
        self.write("addresses", "".join(f"address {word} {prefix} dev lo\n" for prefix in self.prefixes[few:many]))
        subprocess.run(["ip", "-batch", self.file("addresses")], check=True)
        self.addressed = services

    def keep_awake(self, side):
        """Queries a BIRD's status a hundred times a second, because BIRD 2.0 may delay a route for up to three seconds.

        Only for the router's BIRD, which is part of the instrument. The host's BIRD is left alone."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(self.file(f"{side}.ctl"))
            while control.recv(65536):
                time.sleep(0.01)
                control.sendall(b"show status\n")

    def file(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        with open(self.file(name), "w") as file:
            file.write(text)

    def read(self, name):
        with open(self.file(name), errors="replace") as file:
            return file.read()

    def touch(self, name):
        self.write(name, "")

    def spawn(self, argv, output):
        """Starts a program in the world's directory, with its output in that file."""
        with open(self.file(output), "wb") as file:
            return subprocess.Popen(argv, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def bird(self, side):
        return ["bird", "-f", "-c", self.file(f"{side}.conf"), "-s", self.file(f"{side}.ctl")]

    def reconfigure(self):
        """The command that reconfigures the host's BIRD."""
        return ["/usr/sbin/birdc", "-s", self.file("host.ctl"), "configure"]

    def birdc(self, *words):
        done = subprocess.run([*self.reconfigure()[:-1], *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout.decode()

    def list(self, prefixes, name=None):
        """Writes the prefix files with these prefixes, or a copy of the first under another name."""
        for file, (variable, dummy) in list(DUMMIES.items())[:1 if name else 2]:
            entries = ",\n        ".join([dummy] + (prefixes if variable == "ACAST_PS_ADVERTISE" else []))
            self.write(name or file, f"define {variable} =\n    [\n        {entries}\n    ];\n")

    def reset(self, services=None):
        """Nothing advertised, all checks passing, no records of earlier checks, addresses for that many services."""
        self.touch("flag")
        self.address(self.addressed if services is None else services)
        self.list([])
        self.birdc("configure")
        wait_for("all routes to leave", lambda: not self.advertised(), 30)
        self.touch("checks")

    def reconfigured(self):
        """How often the host's BIRD has reconfigured."""
        return self.read("host.log").count("Reconfigured")

    def moved(self, since=0.0):
        """The router's route events in order: (time, prefix, whether the route came)."""
        self.read_moves()
        return [move for move in self.moves if move[0] >= since]

    def advertised(self):
        """The router's current prefixes."""
        self.read_moves()
        return set(self.now)

    def read_moves(self):
        offset = time.time() - time.monotonic()
        with open(self.file("routes"), "rb") as routes:
            routes.seek(self.moves_read)
            text = routes.read()
        text = text[:text.rfind(b"\n") + 1]
        self.moves_read += len(text)
        for line in text.decode().splitlines():
            words = line.replace("[", "").replace("]", "").split()
            if "bird" not in words or not words[0][:1].isdigit():
                continue
            at = datetime.datetime.fromisoformat(words[0]).timestamp() - offset
            gone = words[1] == "Deleted"
            prefix = words[1 + gone] + "/32"
            self.moves.append((at, prefix, not gone))
            (self.now.discard if gone else self.now.add)(prefix)

    def checks(self, since=0.0):
        """The checks that began since then: (time, service, whether it failed)."""
        with open(self.file("checks"), "rb") as log:
            records = struct.iter_unpack("=QQ", log.read())
            return [(ns / 1e9, word >> 1, bool(word & 1)) for ns, word in records if ns / 1e9 >= since]


class Program:
    """A running program to measure."""

    def __init__(self, world, argv):
        self.launched = time.monotonic()
        self.popen = world.spawn(argv, "program.log")
        self.pid = self.popen.pid

    def cpu(self):
        """CPU seconds so far: its own, those of ended children, and the kernel's part of both."""
        with open(f"/proc/{self.pid}/stat") as stat:
            user, system, children, children_system = map(int, stat.read().rsplit(")", 1)[1].split()[11:15])
        own = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/schedstat") as stat:
                own += int(stat.read().split()[0])
        tick = os.sysconf("SC_CLK_TCK")
        return own / 1e9, (children + children_system) / tick, (system + children_system) / tick

    def faults(self):
        """Its own page faults so far."""
        with open(f"/proc/{self.pid}/stat") as stat:
            words = stat.read().rsplit(")", 1)[1].split()
        return int(words[7]) + int(words[9])

    def switches(self):
        """How often its threads have slept and have been preempted so far."""
        slept = interrupted = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/status") as status:
                lines = status.read().rsplit("voluntary_ctxt_switches:", 2)
            slept, interrupted = slept + int(lines[1].split()[0]), interrupted + int(lines[2])
        return slept, interrupted

    def status(self, field):
        """A number in /proc/PID/status."""
        with open(f"/proc/{self.pid}/status") as status:
            lines = dict(line.split(":", 1) for line in status)
        return int(lines[field].split()[0])

    def ended(self):
        return self.popen.poll() is not None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
