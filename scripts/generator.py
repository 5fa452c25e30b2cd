"""How much load myriapod-load makes with one thread, beside wrk with one thread, on the same server.

Interleaved, in random order. Where the generator is the slower side its rate is its own peak; where the server is, the
ratio says too little, so CPU time of the generator per request is told as well.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess

import load
import measure
from measure import say

ASKED = "at least 1.0"


def ours(server, depth, seconds, options):
    """Requests answered and seconds taken, as myriapod-load tells it."""
    command = [
        *["taskset", "-c", str(options.client_cpu), str(measure.release("myriapod-load")), "closed", "-q", "-t1"],
        *[f"-c{options.connections}", f"-d{seconds}s", "--warm-up", "0s", "--depth", str(depth), "--json", "-", server.url()],
    ]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    [only] = found["loads"]
    if only["errors_total"]:
        raise measure.Failure(f"myriapod-load met errors: {only['errors']}")
    return only["answers"], only["seconds"]


GENERATORS = {"wrk": load.wrk, "myriapod-load": ours}


def own_seconds(run):
    """What `run` gives, and the CPU time that children took for it."""
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = used()
    outcome = run()
    return outcome, used() - before


def rounds(server, depth, options):
    """For each round the rate and the CPU microseconds per request of each generator."""
    for _ in range(options.rounds):
        row = {}
        for name in random.sample(list(GENERATORS), len(GENERATORS)):
            run = lambda: GENERATORS[name](server, depth, options.seconds, options)
            (requests, seconds), cpu = own_seconds(run)
            row[name] = (requests / seconds, cpu / requests * 1e6)
        yield row


def compared(server, depth, options):
    rows = list(rounds(server, depth, options))
    of = lambda name, place: statistics.median(row[name][place] for row in rows)
    ratios = [row["myriapod-load"][0] / row["wrk"][0] for row in rows]
    costs = [row["myriapod-load"][1] / row["wrk"][1] for row in rows]
    say(f"{server.name}, depth {depth}: {load.spread(ratios)}")
    return (
        f"{server.name}, depth {depth}", f"{of('wrk', 0):.0f}/s", f"{of('myriapod-load', 0):.0f}/s",
        ASKED, load.spread(ratios), load.spread(costs),
    )


def flags():
    parser = argparse.ArgumentParser(
        prog="generator.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=7)
    add("--seconds", type=int, default=2)
    add("--connections", type=int, default=64)
    add("--server-cpu", type=int, default=0)
    add("--client-cpu", type=int, default=1)
    add("--no-build", action="store_true", help="measure what is built already")
    add("--write-readme", action="store_true", help="put the report between the generator markers of loadtest/README.md")
    return parser.parse_args()


def main():
    options = flags()
    if not options.no_build:
        measure.build(["ceiling", "myriapod", "myriapod-load"])
    found = []
    with measure.scratch() as directory:
        for name in ("myriapod", "ceiling"):
            with measure.serving(name, directory, options.server_cpu) as server:
                found += [compared(server, depth, options) for depth in (1, 16)]
    header = ["server", "wrk", "myriapod-load", "asked", "rate over wrk's", "CPU per request over wrk's"]
    text = "\n\n".join([
        measure.heading("generator"),
        f"One thread each on CPU {options.client_cpu}, server on CPU {options.server_cpu}, {options.connections} connections, "
        f"{options.rounds} rounds of {options.seconds} s in random order; medians, and (least..most).",
        measure.table(header, found),
    ])
    measure.publish("generator", text, False)
    if options.write_readme:
        measure.replace_block(measure.ROOT / "loadtest" / "README.md", "generator", text)


if __name__ == "__main__":
    measure.run(main)
