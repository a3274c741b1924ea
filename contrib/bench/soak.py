#!/usr/bin/env python3
"""Runs the daemon for minutes with many services that come and go, and checks that its resource use stays flat.

  contrib/bench/soak.py [--minutes 10] [--services 1000] [--flap 30] [--daemon PROGRAM]      see --help

Every service is checked once a second; each dies or returns at random intervals, so that BIRD is reconfigured many
times a second. The resources of the daemon are sampled every five seconds. The table shows the medians of the first and
the last minute, the slope, and a verdict. The exit code is 0 if everything is flat and the router has the routes of all
healthy services in the end.

Needs what `run` needs. It runs in its own namespaces and leaves nothing behind.
"""

import argparse
import glob
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from world import HERE, GaveUp, Program, World, wait_for

EVERY = 5           # seconds between two looks
SETTLE = 120        # seconds after all routes are there, before the first: each service has come and gone some times by then
START = 120         # seconds for all routes to be there
LOG = 1 << 20       # bytes of a log file, of which there are three

# The quantities: unit, and by what part of the first median or by how many units the last median
# may exceed it. Momentary counts vary with the load of the machine; the memory of a process is
# steady within a few pages.
QUANTITIES = {
    "resident memory": ("kB", 0.03, 512),
    "proportional memory (PSS)": ("kB", 0.03, 512),
    "anonymous memory (heap, stacks)": ("kB", 0.03, 512),
    "descriptors": ("", 0.10, 20),
    "threads": ("", 0.0, 2),
    "processes below the daemon": ("", 0.10, 10),
    "zombies": ("", 0.0, 2),
    "log files": ("kB", 0.0, 3 * LOG / 1024),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: 10)")
    parser.add_argument("--services", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--flap", type=float, default=30, help="seconds between two changes of a service (default: 30)")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of what dies when")
    parser.add_argument("--daemon", help="the program (default: the release build, made anew)")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        sys.exit(soak(options) if options.inside else outside(options))
    except GaveUp as gave_up:
        sys.exit(f"given up: {gave_up}")


def outside(options):
    """Builds the program if necessary, and restarts this script in its own namespaces."""
    root = os.path.join(HERE, "../..")
    if not options.daemon:
        subprocess.run(["cargo", "build", "--release", "--bin", "anycast-healthchecker"], cwd=root, check=True)
        options.daemon = os.path.join(root, os.environ.get("CARGO_TARGET_DIR", "target"), "release/anycast-healthchecker")
    work = tempfile.mkdtemp()
    try:
        subprocess.run(["cc", "-O2", "-o", os.path.join(work, "probe"), os.path.join(HERE, "probe.c")], check=True)
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        network = '. "$1/../../examples/two-birds/network" && shift && exec python3 -B "$@"'
        arguments = [f"--{name}={getattr(options, name)}" for name in ("minutes", "services", "flap", "seed")]
        return subprocess.run(
            ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c",
             network, "bash", HERE, os.path.abspath(__file__), *arguments, "--inside", work,
             "--daemon", os.path.abspath(options.daemon)]).returncode
    finally:
        shutil.rmtree(work)


def soak(options):
    random.seed(options.seed)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    world = World(os.path.join(options.inside, "world"), options.services)
    configure(world, os.path.join(options.inside, "probe"))
    say(f"{options.services} services for {options.minutes:g} minutes, seed {options.seed}")
    with Program(world, [options.daemon, "-f", world.file("daemon.conf"), "-d", world.file("services.d")]) as program:
        alive = set(range(options.services))
        wait_for("all to be advertised", lambda: routes_are(world, program, alive), START, 0.5)
        time.sleep(SETTLE)
        samples = flap(world, program, options, alive)
        quiet = True
        try:
            wait_for("the routes of the healthy and no others", lambda: routes_are(world, program, alive), 30, 0.5)
        except GaveUp as gave_up:
            quiet = False
            say(f"in the end: {gave_up}")
        begin = time.monotonic()
    stopped = time.monotonic() - begin
    left = descendants(program.pid)[0]
    say(f"stopped with code {program.popen.returncode} after {stopped:.2f} s, {left} processes left")
    flat = judge(samples)
    return 0 if flat and quiet and left == 0 and program.popen.returncode == 0 else 1


def say(text):
    print(text, file=sys.stderr, flush=True)


def configure(world, probe):
    """Each service has its own flag file, and its check passes while the file exists."""
    daemon = {
        "pidfile": world.file("daemon.pid"), "bird_conf": world.file("anycast-prefixes.conf"), "ipv6": "false",
        "bird_reconfigure_cmd": " ".join(world.reconfigure()), "loglevel": "info", "log_file": world.file("log/daemon.log"),
        "log_maxbytes": LOG, "log_backups": 2, "prometheus_exporter": "true",
        "prometheus_collector_textfile_dir": world.directory, "bird_keep_changes": "true",
    }
    defaults = {"check_interval": 1, "check_timeout": 0.9, "check_rise": 1, "check_fail": 1, "check_disabled": "false"}
    lines = ["[DEFAULT]", *(f"{name} = {value}" for name, value in defaults.items())]
    for directory in ("flags", "log", "services.d"):
        os.makedirs(world.file(directory))
    for n, prefix in enumerate(world.prefixes):
        world.touch(f"flags/{n}")
        check = f"{probe} {world.file('checks')} {world.file('flags')}/{n} {n}"
        lines += [f"[service{n}]", f"ip_prefix = {prefix}", f"check_cmd = {check}"]
    world.touch("checks")
    world.write("services.d/services.conf", "\n".join(lines) + "\n")
    world.write("daemon.conf", "\n".join(["[daemon]", *(f"{name} = {value}" for name, value in daemon.items())]) + "\n")


def routes_are(world, program, alive):
    if program.ended():
        raise GaveUp("it ended: " + world.read("program.log")[-300:] + world.read("log/daemon.log")[-1000:])
    return world.advertised() == {world.prefixes[n] for n in alive}


def flap(world, program, options, alive):
    """Lets services die and return, and updates `alive`. Returns a sample for every `EVERY` seconds, with its time."""
    samples, begin = [], time.monotonic()
    pause = options.flap / options.services
    flips, looks = begin, begin
    while (now := time.monotonic()) < begin + options.minutes * 60:
        if now >= looks:
            samples.append((now - begin, look(world, program)))
            # Not in step with the checks, which would always catch the same ones.
            looks = begin + len(samples) * EVERY + random.random()
            if len(samples) % (60 // EVERY) == 1:
                say(f"{now - begin:4.0f} s: " + ", ".join(f"{value:.0f}" for value in samples[-1][1]))
        if now >= flips:
            n = random.randrange(options.services)
            if n in alive:
                os.remove(world.file(f"flags/{n}"))
            else:
                world.touch(f"flags/{n}")
            alive ^= {n}
            flips = max(flips + pause, now - 1)
        time.sleep(max(0, min(flips, looks) - time.monotonic()))
    return samples


def look(world, program):
    """A sample of the daemon's resources, in the order of the quantities."""
    if program.ended():
        raise GaveUp("it ended: " + world.read("program.log")[-300:])
    with open(f"/proc/{program.pid}/smaps_rollup") as rollup:
        memory = {line.split(":")[0]: int(line.split()[1]) for line in rollup if line.endswith("kB\n")}
    processes, zombies = descendants(program.pid)
    log = sum(os.path.getsize(file) for file in glob.glob(world.file("log/*")))
    return [program.status("VmRSS"), memory["Pss"], memory["Anonymous"], len(os.listdir(f"/proc/{program.pid}/fd")),
            program.status("Threads"), processes, zombies, log / 1024]


def descendants(pid):
    """The number of processes below it, and of zombies."""
    parents, states = {}, {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat) as file:
                state, parent = file.read().rsplit(")", 1)[1].split()[:2]
        except OSError:
            continue    # It has ended meanwhile.
        child = int(stat.split("/")[2])
        parents[child], states[child] = int(parent), state
    below = {child for child in parents if pid in ancestors(child, parents)}
    zombies = sum(states[child] == "Z" for child in below)
    return len(below) - zombies, zombies


def ancestors(child, parents):
    while child := parents.get(child):
        yield child


def judge(samples):
    """Prints the table. Returns whether everything is flat."""
    minute = min(60, samples[-1][0] / 3)
    first = [values for when, values in samples if when <= minute]
    last = [values for when, values in samples if when >= samples[-1][0] - minute]
    print("| | first minute | last minute | slope per minute | |\n|---|---|---|---|---|")
    flat = True
    for n, (name, (unit, share, units)) in enumerate(QUANTITIES.items()):
        begin, end = (statistics.median(values[n] for values in part) for part in (first, last))
        slope = statistics.linear_regression([when / 60 for when, _ in samples], [values[n] for _, values in samples]).slope
        is_flat = end <= begin + max(begin * share, units)
        flat = flat and is_flat
        print(f"| {name}{', ' if unit else ''}{unit} | {begin:.0f} | {end:.0f} | {slope:+.1f} | {'flat' if is_flat else 'GROWS'} |")
    return flat


if __name__ == "__main__":
    main()
