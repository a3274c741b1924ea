"""The world of the benchmark: the host's BIRD, the router's BIRD beyond a BGP session, and the programs to be measured.

`run` has put this process on the host: into namespaces of its own, with a router beside it, all gone when it ends.
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
    """Something did not come about in time."""


def wait_for(what, condition, limit, pause=0.05):
    """Waits until `condition()` holds, and says what was waited for where it never does."""
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
        self.moves = self.spawn(["nsenter", "--net=/run/netns/router", "ip", "-ts", "-o", "-4", "monitor", "route"],
                                "routes")
        self.spawn(["nsenter", "--net=/run/netns/router", *self.bird("router")], "router.log")
        self.write("addresses", "".join(f"address add {prefix} dev lo\n" for prefix in self.prefixes))
        subprocess.run(["ip", "-batch", self.file("addresses")], check=True)
        self.spawn(self.bird("host"), "host.log")
        wait_for("a BGP session", lambda: "Established" in self.birdc("show", "protocols", "router4"), 60)
        for side in ("host", "router"):
            threading.Thread(target=self.keep_awake, args=(side,), daemon=True).start()

    def keep_awake(self, side):
        """Asks a BIRD for its status a hundred times a second: 2.0 else may sit on a route for up to three seconds."""
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
        """Starts a program in the world's directory, its output in that file."""
        with open(self.file(output), "wb") as file:
            return subprocess.Popen(argv, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def bird(self, side):
        return ["bird", "-f", "-c", self.file(f"{side}.conf"), "-s", self.file(f"{side}.ctl")]

    def reconfigure(self):
        """The command that has the host's BIRD read its files again."""
        return ["/usr/sbin/birdc", "-s", self.file("host.ctl"), "configure"]

    def birdc(self, *words):
        done = subprocess.run([*self.reconfigure()[:-1], *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.stdout.decode()

    def list(self, prefixes, name=None):
        """Writes the prefix files, or a copy of the first under another name, with these prefixes."""
        for file, (variable, dummy) in list(DUMMIES.items())[:1 if name else 2]:
            entries = ",\n        ".join([dummy] + (prefixes if variable == "ACAST_PS_ADVERTISE" else []))
            self.write(name or file, f"define {variable} =\n    [\n        {entries}\n    ];\n")

    def reset(self):
        """Nothing advertised, every check passing, no notes of earlier checks."""
        self.touch("flag")
        self.list([])
        self.birdc("configure")
        wait_for("all routes to leave", lambda: not self.advertised(), 30)
        self.touch("checks")

    def reconfigured(self):
        """How often the host's BIRD has taken a configuration so far."""
        return self.read("host.log").count("Reconfigured")

    def moved(self, since=0.0):
        """What happened to the router's routes: (when, prefix, whether it came), in order."""
        offset = time.time() - time.monotonic()
        found = []
        for line in self.read("routes").splitlines():
            words = line.replace("[", "").replace("]", "").split()
            if "bird" not in words or not words[0][:1].isdigit():
                continue
            at = datetime.datetime.fromisoformat(words[0]).timestamp() - offset
            gone = words[1] == "Deleted"
            if at >= since:
                found.append((at, words[1 + gone] + "/32", not gone))
        return found

    def advertised(self):
        """The prefixes that the router has now."""
        now = {}
        for _, prefix, came in self.moved():
            now[prefix] = came
        return {prefix for prefix, there in now.items() if there}

    def checks(self, since=0.0):
        """The checks that began since then: (when, which service, whether it failed)."""
        with open(self.file("checks"), "rb") as log:
            records = struct.iter_unpack("=QQ", log.read())
            return [(ns / 1e9, word >> 1, bool(word & 1)) for ns, word in records if ns / 1e9 >= since]


class Program:
    """A running program that is measured."""

    def __init__(self, world, argv):
        self.launched = time.monotonic()
        self.popen = world.spawn(argv, "program.log")
        self.pid = self.popen.pid

    def cpu(self):
        """CPU time so far in seconds: its own, its children's that ended, and how much of both the kernel used."""
        with open(f"/proc/{self.pid}/stat") as stat:
            user, system, children, children_system = map(int, stat.read().rsplit(")", 1)[1].split()[11:15])
        own = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/schedstat") as stat:
                own += int(stat.read().split()[0])
        tick = os.sysconf("SC_CLK_TCK")
        return own / 1e9, (children + children_system) / tick, (system + children_system) / tick

    def status(self, field):
        """A number of /proc/PID/status."""
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
