"""Measures whole runs: the floor, this daemon and the original, one after the other, several times over.

Each round measures every program once, so that what else the machine does meanwhile hits all alike; a figure is the
median of the rounds. Started by `run`.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

import report
from world import GaveUp, Program, World, wait_for

START = 60          # seconds after which a daemon that does not advertise everything is given up
SETTLE = 3          # seconds after that, before anything is measured


class Subject:
    """One program to be measured: the floor, or a daemon at a log level."""

    def __init__(self, name, program, **options):
        self.name, self.program, self.options = name, program, options
        self.is_floor = options.pop("floor", False)

    def start(self, world, services, interval=1, splay=0):
        """Starts it on the first `services` services."""
        if self.is_floor:
            return Program(world, [self.program, "checks", str(services), str(interval),
                                   *map(world.file, ("checks", "flag", "probe"))])
        self.configure(world, services, interval, splay)
        return Program(world, [self.program, "-f", world.file("daemon.conf"), "-d", world.file("services.d")])

    def start_failover(self, world, interval):
        """Starts it on the first service, so that it moves the route."""
        if not self.is_floor:
            return self.start(world, 1, interval)
        world.list(world.prefixes[:1], "up.conf")
        world.list([], "down.conf")
        files = map(world.file, ("checks", "flag", "probe", "anycast-prefixes.conf", "up.conf", "down.conf"))
        return Program(world, [self.program, "failover", str(interval), *files, *world.reconfigure()])

    def configure(self, world, services, interval, splay):
        command = " ".join(world.reconfigure())
        daemon = {
            "pidfile": world.file("daemon.pid"), "bird_conf": world.file("anycast-prefixes.conf"),
            "bird_reconfigure_cmd": command, "ipv6": "false", "splay_startup": splay, "loglevel": "info",
            "log_file": world.file("daemon.log"), "log_maxbytes": 104857600, **self.options,
        }
        section = {"interface": "lo", "check_interval": interval, "check_timeout": 5, "check_rise": 1, "check_fail": 1,
                   "check_disabled": "false", "ip_check_disabled": "false", "on_disabled": "withdraw"}
        lines = ["[daemon]", *(f"{name} = {value}" for name, value in daemon.items() if value != 0)]
        world.write("daemon.conf", "\n".join(lines) + "\n")
        lines = ["[DEFAULT]", *(f"{name} = {value}" for name, value in section.items())]
        for n, prefix in enumerate(world.prefixes[:services]):
            check = " ".join([*map(world.file, ("probe", "checks", "flag")), str(n)])
            lines += [f"[service{n}]", f"ip_prefix = {prefix}", f"check_cmd = {check}"]
        os.makedirs(world.file("services.d"), exist_ok=True)
        world.write("services.d/services.conf", "\n".join(lines) + "\n")


def wait_advertised(world, program, services, limit=START):
    def all_there():
        if program.ended():
            raise GaveUp("it ended: " + world.read("program.log")[-300:])
        return len(world.advertised()) >= services
    try:
        wait_for("all to be advertised", all_there, limit)
    except GaveUp as gave_up:
        raise GaveUp(f"{gave_up} ({len(world.advertised())} of {services} were)") from None


def spread(values):
    """Median, 99th percentile and maximum, in milliseconds."""
    values = sorted(value * 1e3 for value in values)
    if not values:
        return None
    return [values[len(values) // 2], values[min(len(values) - 1, len(values) * 99 // 100)], values[-1]]


def steady(world, subject, services, seconds, splay=0):
    """CPU per check, memory and punctuality while every service is checked once a second and all is well."""
    with subject.start(world, services, splay=splay) as program:
        if subject.is_floor:
            time.sleep(1)
        else:
            wait_advertised(world, program, services)
            time.sleep(SETTLE)
        begin, before = time.monotonic(), program.cpu()
        time.sleep(seconds)
        end, after = time.monotonic(), program.cpu()
        memory, threads = program.status("VmRSS") / 1024, program.status("Threads")
    checks = [(when, service) for when, service, _ in world.checks(begin) if when < end]
    own, children, kernel = ((b - a) * 1e3 / max(1, len(checks)) for a, b in zip(before, after))
    return {"checks": len(checks) / (end - begin) / services * 100, "cpu": own + children, "own": own,
            "children": children, "kernel": kernel, "memory": memory, "threads": threads,
            "lateness": spread(lateness(checks))}


def lateness(checks, interval=1):
    """How much later each check began than the most punctual one of its service did."""
    by_service = {}
    for when, service in checks:
        by_service.setdefault(service, []).append(when)
    late = []
    for times in by_service.values():
        # Distances from the first one, by less than half an interval either way.
        offsets = [(when - times[0] + interval / 2) % interval - interval / 2 for when in times]
        late += [offset - min(offsets) for offset in offsets]
    return late


def first_notices(checks):
    first = {}
    for when, service, _ in checks:
        first.setdefault(service, when)
    return first


def overheads(world, since, failed, services):
    """From the start of the check that saw the change to the move of the route, for each service."""
    noticed = first_notices(check for check in world.checks(since) if check[2] == failed)
    moved = {prefix: when for when, prefix, came in world.moved(since) if came != failed}
    numbers = range(services)
    return [moved[world.prefixes[n]] - noticed[n] for n in numbers if n in noticed and world.prefixes[n] in moved]


def flip(world, failed):
    """From now on every check fails, or passes again."""
    since = time.monotonic()
    if failed:
        os.remove(world.file("flag"))
    else:
        world.touch("flag")
    return since


def failover(world, subject, cycles):
    """The route of one service, down and up at random moments."""
    down, up, interval = [], [], 0.5
    with subject.start_failover(world, interval) as program:
        wait_advertised(world, program, 1)
        for _ in range(cycles):
            for failed, found in ((True, down), (False, up)):
                time.sleep(interval + random.uniform(0, interval))
                since = flip(world, failed)
                wait_for("the route to move", lambda: bool(world.advertised()) != failed, 30, 0.02)
                found += overheads(world, since, failed, 1)
    return {"down": spread(down), "up": spread(up)}


def mass_failover(world, subject, services):
    """All services fail within one interval."""
    with subject.start(world, services) as program:
        wait_advertised(world, program, services)
        time.sleep(SETTLE)
        reconfigured, since = world.reconfigured(), flip(world, True)
        wait_for("all routes to leave", lambda: not world.advertised(), 60, 0.2)
        time.sleep(1)
        return {"down": spread(overheads(world, since, True, services)),
                "reconfigured": world.reconfigured() - reconfigured}


def start_up(world, subject, services):
    """From the launch to the first check and to the last route."""
    with subject.start(world, services) as program:
        wait_advertised(world, program, services)
        routes = [when for when, _, _ in world.moved(program.launched)]
        checks = [when for when, _, _ in world.checks(program.launched)]
        return {"first check": (min(checks) - program.launched) * 1e3,
                "all routes": (max(routes) - program.launched) * 1e3}


def herd(world, subject, services):
    """All checks are ordered to run at once (SIGURG): how long after that each begins."""
    with subject.start(world, services) as program:
        wait_advertised(world, program, services)
        time.sleep(SETTLE)
        since = time.monotonic()
        program.popen.send_signal(signal.SIGURG)
        time.sleep(0.9)
        first = first_notices(world.checks(since))
        return {"begun": spread(when - since for when in first.values())}


def measure(world, what, subjects, rounds, function, *arguments):
    """All subjects in turn, `rounds` times; the medians by the subject's name."""
    found = {subject.name: [] for subject in subjects}
    for n in range(rounds):
        for subject in subjects:
            print(f"{what}, round {n + 1} of {rounds}: {subject.name}", file=sys.stderr, flush=True)
            world.reset()
            try:
                found[subject.name].append(function(world, subject, *arguments))
            except GaveUp as gave_up:
                found[subject.name].append({"failed": str(gave_up)})
    return {name: merged(results) for name, results in found.items()}


def merged(results):
    good = [result for result in results if "failed" not in result]
    if not good:
        return results[0]
    return {key: median([result[key] for result in good]) for key in good[0]}


def median(values):
    values = [value for value in values if value is not None]
    if values and isinstance(values[0], list):
        return [statistics.median(column) for column in zip(*values)]
    return statistics.median(values) if values else None


def subjects_of(options):
    floor = Subject("floor", os.path.join(options.work, "floor"), floor=True)
    ours = Subject("this daemon", options.daemon)
    debug = Subject("this daemon, debug log", options.daemon, loglevel="debug")
    original = []
    if options.original:
        original.append(Subject("original", options.original, loglevel="error"))
    return floor, ours, debug, original


def find_original():
    path = shutil.which("anycast-healthchecker")
    if path is None:
        return None
    with open(path, "rb") as file:
        return path if b"python" in file.readline() else None


def main():
    parser = argparse.ArgumentParser(prog="contrib/bench/run", description=__doc__)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--daemon", help="another binary of this daemon than a fresh release build")
    parser.add_argument("--original", default=find_original(), help="the Python program [default: the one in PATH]")
    parser.add_argument("--table", default="bench.md", help="where the table goes [default: %(default)s]")
    parser.add_argument("--plot", default="bench.svg", help="where the plot goes [default: %(default)s]")
    parser.add_argument("--services", default="1,10,100,1000,3000", help="how many [default: %(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured [default: %(default)s]")
    parser.add_argument("--seconds", type=int, default=15, help="how long each time [default: %(default)s]")
    parser.add_argument("--parts", default="steady,failover,mass,start,herd", help="which [default: %(default)s]")
    parser.add_argument("--short", action="store_true", help="1 and 100 services, one round of 5 seconds, no herds")
    options = parser.parse_args()
    if options.short:
        options.services, options.rounds, options.seconds = "1,100", 1, 5
    counts = [int(count) for count in options.services.split(",")]
    parts = options.parts.split(",")
    floor, ours, debug, original = subjects_of(options)
    many = max(count for count in counts if count <= 1000)
    cycles = 5 if options.short else 20

    world = World(os.path.join(options.work, "world"), max(counts))
    for name in ("floor", "probe"):
        shutil.copy(os.path.join(options.work, name), world.file(name))
    found = report.Found(options, machine())
    if "steady" in parts:
        for count in counts:
            # A clock tick of the kernel's, the grain of children's CPU time, is as much as 20 checks need.
            seconds = options.seconds * (4 if count < 10 else 2 if count < 100 else 1)
            # The original needs more CPU than there is for more.
            all_of_them = [floor, ours, debug] + (original if count <= 100 else [])
            found.steady[count] = measure(world, f"{count} services", all_of_them, options.rounds, steady, count, seconds)
    if "failover" in parts:
        found.failover = measure(world, "failover", [floor, ours] + original, options.rounds, failover, cycles)
    if "mass" in parts:
        found.mass[many] = measure(world, f"{many} fail at once", [ours] + original, 1, mass_failover, many)
    if "start" in parts:
        for count in sorted({1, many}):
            found.start[count] = measure(world, f"start with {count}", [ours] + original, options.rounds, start_up, count)
    if "herd" in parts and not options.short:
        found.herd[many] = {
            "SIGURG": measure(world, f"herd of {many}", [ours], options.rounds, herd, many)[ours.name],
            "splay": measure(world, f"{many} splayed", [ours], options.rounds, steady, many, options.seconds, 1)[ours.name],
        }
    found.write()


def machine():
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown CPU")
    bird = subprocess.run(["bird", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
    return f"{os.cpu_count()} cores of {model}, Linux {os.uname().release}, {bird.strip()}"


if __name__ == "__main__":
    main()
