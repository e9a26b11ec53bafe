"""This package beside other WebSocket servers: speed, memory, growth.

    python3 benches/bench.py --peers ours,picows --scenarios echo --cores one

The peers (``benches/peers``) are servers that do the same work; the load program checks
every message. Repetitions are interleaved: each round measures every peer in turn. A
run that lost, doubled or changed a message is reported as FAILED, and the others go on.
"""

from __future__ import annotations

import signal
import sys
import time

import common
from peers import PEERS
from runner import conduct, machine, options, plots, report, results
from runner.conduct import Plan, minutes
from runner.options import Options
from runner.results import Results
from runner.scenarios import GROUPS, TASKS

PLACE = common.TARGET / "bench"


def main() -> None:
    """Measure, and write the report; or only write it."""
    asked = options.parse(None, PEERS)
    # So that the servers end with this program.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if asked.report:
        found = results.merged([results.load(path) for path in asked.report])
    else:
        found = measure(asked)
    out = asked.out or (common.ROOT / "docs" if found.whole else PLACE)
    out.mkdir(parents=True, exist_ok=True)
    text = report.markdown(found)
    (out / "benchmarks.md").write_text(text)
    print(f"wrote {out / 'benchmarks.md'}")
    plots.draw(found, out / "images" / "bench")
    print(f"wrote {out / 'images' / 'bench'}")


def measure(asked: Options) -> Results:
    """Run the benchmarks; return the results, which are in a file, too."""
    common.raise_descriptor_limit()
    plan = planned(asked)
    settings = [setting for some in plan.settings.values() for setting in some]
    found = Results(
        command=asked.command(),
        whole=asked.whole,
        machine=machine.description(),
        settings={setting.name: setting.title for setting in settings},
        peers={name: (peer.title, peer.group) for name, peer in plan.peers.items()},
    )
    path = PLACE / ("results.json" if asked.whole else "part.json")
    print(f"{found.command}: about {minutes(plan.estimate())} minutes after building")
    if common.profile():
        print(f"NOT built as users build it: {common.profile()}", file=sys.stderr)
    conductor = conduct.Conductor(
        plan, found, path, lambda text: print(text, flush=True)
    )
    conductor.prepare()
    began = time.monotonic()
    conductor.run()
    found.machine["measured for"] = f"{minutes(time.monotonic() - began)} minutes"
    found.save(path)
    print(f"wrote {path}")
    return found


def planned(asked: Options) -> Plan:
    """Return what the command line asks for."""
    names = asked.peers or tuple(PEERS)
    tasks = tuple(
        task
        for task in TASKS
        if not asked.scenarios or {task.name, task.group} & {*asked.scenarios}
    )
    groups = [group for group in GROUPS if any(task.group == group for task in tasks)]
    cores = machine.processors()
    return Plan(
        peers={name: PEERS[name] for name in names},
        chosen=bool(asked.peers),
        tasks=tasks,
        settings={
            group: machine.settings(asked.cores_of(group), cores) for group in groups
        },
        rounds={group: asked.rounds_of(group) for group in groups},
        seconds=asked.seconds or options.SECONDS[asked.full],
        warmup=options.WARMUP[asked.full],
        idle=options.IDLE[asked.full],
    )


if __name__ == "__main__":
    main()
