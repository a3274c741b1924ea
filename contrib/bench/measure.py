"""Measures the floor, this daemon and the original in several rounds.

Each round measures each program once, so that other load on the machine affects all of them. Times of all rounds are
combined; other figures are medians of the rounds. Started by `run`.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys

import report
import scenarios
from subjects import Daemon, Floor, find_original
from world import GaveUp, World

PARTS = "steady,idle,failover,crash,mass,start,large"
PREFIXES = 10000        # in the large list


class Bench:
    """The world, the programs, and the results."""

    def __init__(self, options):
        self.options, self.found = options, {}
        most = max(count for count, _ in options.services)
        self.many = min(1000, most)
        self.world = World(os.path.join(options.work, "world"), max(most, 100))
        for name in ("floor", "probe"):
            shutil.copy(os.path.join(options.work, name), self.world.file(name))
        socket = {"bird_control_socket": self.world.file("host.ctl")}
        watch = {"watch_pidfile": self.world.file("service.pid")}
        self.floor = Floor("floor", self.world.file("floor"))
        self.ours = Daemon("this daemon", options.daemon)
        self.debug = Daemon("this daemon, loglevel = debug", options.daemon, loglevel="debug")
        self.splay = Daemon("this daemon, splay_startup = 1", options.daemon, splay_startup=1)
        self.socket = Daemon("this daemon, control socket", options.daemon, **socket)
        self.watch = Daemon("this daemon, watch_pidfile", options.daemon, watch)
        self.watch_socket = Daemon("this daemon, watch_pidfile, control socket", options.daemon, watch, **socket)
        # At the lowest log level, because otherwise logging would dominate.
        self.original = [Daemon("original", options.original, loglevel="error")] if options.original else []

    def run(self):
        for part in self.options.parts:
            getattr(self, part)()
        return self.found

    def steady(self):
        for count, interval in self.options.services:
            subjects = [self.floor, self.ours]
            if (count, interval) == (self.many, 1):
                subjects += [self.debug, self.splay]
            # More services would need more CPU time than there is.
            subjects += self.original if count <= 100 else []
            # The CPU time of children has a resolution of 0.01 s, which a dozen checks use.
            seconds = max(self.options.seconds * (4 if count < 10 else 2 if count < 100 else 1), 5 * interval)
            self.measure("steady", count, subjects, scenarios.steady, interval, seconds)

    def idle(self):
        self.measure("idle", 1, [self.floor, self.ours] + self.original, scenarios.idle, 30, rounds=1)

    def failover(self):
        subjects = [self.floor, self.ours, self.socket] + self.original
        self.measure("failover", 1, subjects, scenarios.failover, self.options.cycles)

    def crash(self):
        subjects = [self.watch, self.watch_socket] + self.original
        self.measure("crash", 1, subjects, scenarios.crash, self.options.cycles, rounds=1)

    def mass(self):
        for count in sorted({min(200, self.many), self.many}):
            subjects = [self.ours, self.socket] + (self.original if count <= 200 else [])
            self.measure("mass", count, subjects, scenarios.mass_failover)

    def start(self):
        for count in sorted({1, self.many}):
            subjects = [self.ours] + (self.original if count <= 200 else [])
            self.measure("start", count, subjects, scenarios.start_up)

    def large(self):
        self.measure("large", 100, [self.ours], scenarios.large_list, PREFIXES)

    def measure(self, part, count, subjects, scenario, *arguments, rounds=None):
        """Measures all subjects in turn, in each round."""
        rounds = rounds or self.options.rounds
        results = {subject.name: [] for subject in subjects}
        for n in range(rounds):
            for subject in subjects:
                said = f"{part}, {count} services, round {n + 1} of {rounds}: {subject.name}"
                print(said, file=sys.stderr, flush=True)
                try:
                    self.world.reset(count)
                    results[subject.name].append(scenario(self.world, count, subject, *arguments))
                except GaveUp as gave_up:
                    results[subject.name].append({"failed": str(gave_up)})
        every = arguments[0] if part == "steady" else 1
        self.found.setdefault(part, {})[count, every] = {name: merged(found) for name, found in results.items()}


def merged(results):
    good = [result for result in results if "failed" not in result]
    if not good:
        return results[0]
    return {name: together([result[name] for result in good]) for name in good[0]}


def together(values):
    if isinstance(values[0], list):
        return [value for of_one_round in values for value in of_one_round]
    return None if None in values else statistics.median(values)


def count_and_interval(text):
    count, _, interval = text.partition("/")
    return int(count), int(interval or 1)


def arguments():
    parser = argparse.ArgumentParser(prog="contrib/bench/run", description=__doc__)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--daemon", type=os.path.abspath,
                        help="another binary of this daemon than a fresh release build")
    parser.add_argument("--original", type=os.path.abspath, default=find_original(),
                        help="the Python program [default: the one in PATH]")
    parser.add_argument("--services", default="1,10,100,1000,3000,3000/3",
                        help="how many, and how many seconds lie between two checks of each [default: %(default)s]")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is measured [default: %(default)s]")
    parser.add_argument("--seconds", type=int, default=10, help="how long each time [default: %(default)s]")
    parser.add_argument("--cycles", type=int, default=20, help="failovers in each round [default: %(default)s]")
    parser.add_argument("--parts", default=PARTS, help="which [default: %(default)s]")
    parser.add_argument("--short", action="store_true", help="1 and 100 services, one round of 5 seconds, 5 failovers")
    parser.add_argument("--readme", action="store_true",
                        help="renew the tables of docs/performance.md and the plot too, of the parts that were measured")
    options = parser.parse_args()
    if options.short:
        options.services, options.rounds, options.seconds, options.cycles = "1,100", 1, 5, 5
    options.asked = (f"--services {options.services} --rounds {options.rounds} --seconds {options.seconds} "
                     f"--cycles {options.cycles}")
    options.services = [count_and_interval(text) for text in options.services.split(",")]
    options.parts = options.parts.split(",")
    unknown = set(options.parts) - set(PARTS.split(","))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}")
    return options


def setting(options):
    """The machine and the versions."""
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown CPU")
    bird = subprocess.run(["bird", "--version"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode()
    size = os.path.getsize(options.daemon) / 2**20
    return (f"{os.cpu_count()} cores of {model}, Linux {os.uname().release}, {bird.strip()}; the daemon's binary has "
            f"{size:.1f} MiB. `contrib/bench/run {options.asked}`.")


def main():
    options = arguments()
    found = Bench(options).run()
    print(report.show(setting(options), found), end="")
    if options.readme:
        report.publish(setting(options), found)


if __name__ == "__main__":
    main()
