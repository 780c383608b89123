"""How much of moto is changed: attributes that the rules and `moto_changes` patch, all services loaded.

python bench/patches.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from moto.core.responses import BaseResponse

from awslabs.sandbox import rules, services
from awslabs.sandbox.core import engine, moto_changes


def main() -> None:
    services.load()
    with rules.installed(running=True):
        spots = set(engine._placed)
    text = Path(moto_changes.__file__).read_text()
    changed = re.findall(r'^    _change\(([\w.]+), "(\w+)"|^    (\w+)\.(\w+) = ', text, re.MULTILINE)
    names = {f"{owner.__name__}.{attribute}" for owner, attribute in spots}
    names |= {f"{one or three}.{two or four}" for one, two, three, four in changed}
    of_responses = [owner for owner, _ in spots if inspect.isclass(owner) and issubclass(owner, BaseResponse)]
    private = sorted(name for name in names if re.search(r"\._(?!_)", name))
    print(f"{len(names)} attributes of moto are changed, {len(of_responses)} of its Response classes")
    print(f"{len(private)} have private names: {', '.join(private)}")


if __name__ == "__main__":
    main()
