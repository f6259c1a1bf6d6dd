"""Every command of the documents is one that the project accepts."""

import pytest
from documented_commands import REHEARSED, RUN, check_command, fenced_commands, run_command
from processes import ROOT

DOCUMENTS = sorted(path for pattern in ('*.md', 'docs/**/*.md', 'configs/**/*.md', 'results/*.md')
                   for path in ROOT.glob(pattern))


def test_each_command_is_run_rehearsed_small_or_parsed(tmp_path, monkeypatch):
    """Those of tests/e2e/test_tutorials.py are rehearsed there, the others parsed in the next test."""
    found = {tuple(words) for document in DOCUMENTS
             for words in fenced_commands(document.read_text(encoding='utf-8'))}
    rehearsed = {words for words in found if ' '.join(words) in REHEARSED}
    assert len(rehearsed) == len(REHEARSED)                              # all of them are on some page
    run = {words for words in found if ' '.join(words).startswith(RUN) and not words[-1].isupper()}
    monkeypatch.chdir(tmp_path)
    for words in run:
        run_command(list(words))
    parsed = found - run - rehearsed
    print(f'commands of the pages: {len(run)} run, {len(rehearsed)} rehearsed small, {len(parsed)} parsed')
    assert len(run) >= 5 and len(parsed) > 100


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_commands_are_accepted(document):
    for words in fenced_commands(document.read_text(encoding='utf-8')):
        check_command(words)


def test_readme_shows_the_ways_in():
    commands = list(fenced_commands((ROOT / 'README.md').read_text(encoding='utf-8')))
    kinds = {check_command(words) for words in commands}
    assert ['make', 'quickstart'] in commands
    assert ['make', 'test'] in commands
    assert {'mmsimclr', 'dist_train.sh'} <= kinds


@pytest.mark.parametrize('command, complaint', [
    ('make quickstrat', 'no target'), ('python tools/trian.py x', 'does not exist'),
    ('python tools/train.py CONFIG --wrok-dir x', 'refuses'),
    ('bash tools/dist_train.sh CONFIG eight', 'GPUs'), ('tools/dist_train.sh CONFIG', 'wants GPUS'),
    ('tools/dist_run.sh eight tools/extract_features.py x y --out z', 'GPUs'),
    ('tools/dist_run.sh 8 tools/extract_featrues.py x y --out z', 'does not exist'),
    ('tools/dist_run.sh 8 tools/extract_features.py x y --outt z --out z', 'refuses'),
    ('tools/dist_run.sh 8 tools/browse_views.py CONFIG', 'refuses'),          # has no --launcher
    ('tools/dist_benchmark.sh CONFIG CHECKPOINT 8 --wrok-dir x', 'refuses'),
    ('python tools/train.py configs/simclr/simclr_resnet50_8xb32-coslr-200e_in1k.py --cfg-options '
     'modle.x=1', "did you mean 'model'"), ('python -m mmsimclr.docter', 'does not exist'),
    ('mmsimclr trian CONFIG', 'trian'), ('mmsimclr prepare cifar', 'cifar'),
    ('mmsimclr train CONFIG --wrok-dir x', 'refuses'), ('cmake quickstart', 'cmake'),
    ('docker build --target gpu .', 'gpu'), ('docker run -it mmsimclr:cpu exlore photos', 'exlore'),
    ('sbatch --nodes 1 tools/slurm_train.sh PARTITION', 'wants JOB')])
def test_a_wrong_command_would_be_noticed(command, complaint):
    words, = fenced_commands(f'```bash\n{command}\n```\n')
    with pytest.raises((AssertionError, ValueError), match=complaint):
        check_command(words)


def test_commands_are_found_in_blocks_behind_prompts_and_over_several_lines():
    text = '''Type `make nothing`.
```bash
$ GPUS=16 bash tools/slurm_train.sh a b c   # comment
python tools/prepare_data/cifar10.py && python tools/train.py x \\
    --amp bf16
echo done
```
```python
make = 1
```
'''
    assert list(fenced_commands(text)) == [
        ['bash', 'tools/slurm_train.sh', 'a', 'b', 'c'], ['python', 'tools/prepare_data/cifar10.py'],
        ['python', 'tools/train.py', 'x', '--amp', 'bf16'], ['echo', 'done']]
