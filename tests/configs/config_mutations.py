"""Every way in which one key of a config can be dropped, misspelled or given a value of another kind.

python tests/configs/config_mutations.py [CONFIG ...] tries them all on configs, by default on every leaf, and
prints how many are refused, how many pass, and each that ends in another error than the project's own.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsimclr.config import ConfigError, check_config, load_config


@dataclass(frozen=True)
class Mutation:
    """What was changed.

    Attributes:
        kind: 'drop', 'misspell' or 'retype'.
        place: The key, dotted.
        value: Of a retyped key, the new value.
    """

    kind: str
    place: str
    value: Any = None


def plain(node: Any) -> Any:
    """Return a loaded config as dicts and lists, its types as classes."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, list | tuple) else node


def mutations(config: dict | list, place: str = '') -> Iterator[Mutation]:
    """Change one key of a config after another, in place, and undo it when the next is asked for."""
    is_dict = isinstance(config, dict)
    for key, value in list(config.items() if is_dict else enumerate(config)):
        here = f'{place}.{key}'.lstrip('.')
        if is_dict:
            del config[key]
            yield Mutation('drop', here)
            config[f'{key}x'] = value
            yield Mutation('misspell', here)
            del config[f'{key}x']
            config[key] = value
        for wrong in _of_other_kinds(value):
            config[key] = wrong
            yield Mutation('retype', here, wrong)
        config[key] = value
        if isinstance(value, dict | list):
            yield from mutations(value, here)


def _of_other_kinds(value: Any) -> tuple[Any, ...]:
    if value is None:                                        # what else it may be, the config does not say
        return ({'oops': 1},)
    if isinstance(value, dict | list):
        return 7, 'oops'
    return (7 if isinstance(value, str) or callable(value) else 'oops'), {'oops': 1}


def answers(config: dict) -> Iterator[tuple[Mutation, Exception | None]]:
    """Yield each mutation of a config with what the check raised at it."""
    check_config(config)
    for mutation in mutations(config):
        try:
            check_config(config)
        except Exception as error:
            yield mutation, error
        else:
            yield mutation, None


def main() -> None:
    parser = argparse.ArgumentParser(description='Try every key of configs dropped, misspelled and retyped')
    parser.add_argument('configs', nargs='*', help='by default every leaf')
    paths = parser.parse_args().configs
    configs = Path(__file__).parents[2] / 'configs'
    counts: Counter = Counter()
    for path in paths or sorted(p for p in configs.glob('*/**/*.py') if '_base_' not in p.parts):
        of_file: Counter = Counter()
        for mutation, error in answers(plain(dict(load_config(path).items()))):
            answer = 'passed' if error is None else 'refused' if isinstance(error, ConfigError) else 'failed'
            of_file[mutation.kind, answer] += 1
            if answer == 'failed' or (answer == 'passed' and mutation.kind != 'drop' and len(paths) == 1):
                print(f'  {answer}: {mutation} {error!r}')
        counts += of_file
        print(f'{Path(path).stem}: {_summary(of_file)}', flush=True)
    print(f'{counts.total()} mutations in all: {_summary(counts)}')


def _summary(counts: Counter) -> str:
    return ', '.join(f'{kind} {answer} {number}' for (kind, answer), number in sorted(counts.items()))


if __name__ == '__main__':
    main()
