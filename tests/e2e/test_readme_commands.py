"""Every command of the documents is one that the project accepts."""

import pytest
from documented_commands import check_command, fenced_commands
from processes import ROOT

DOCUMENTS = sorted(path for pattern in ('*.md', 'docs/**/*.md', 'configs/**/*.md')
                   for path in ROOT.glob(pattern))


@pytest.mark.parametrize('document', DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documented_commands_are_accepted(document):
    for words in fenced_commands(document.read_text(encoding='utf-8')):
        check_command(words)


def test_readme_shows_the_ways_in():
    commands = list(fenced_commands((ROOT / 'README.md').read_text(encoding='utf-8')))
    kinds = {check_command(words) for words in commands}
    assert ['make', 'quickstart'] in commands
    assert ['make', 'test'] in commands
    assert {'train.py', 'dist_train.sh', 'cifar10.py'} <= kinds


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
    ('mmsimclr train CONFIG --wrok-dir x', 'refuses')])
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
git clone somewhere
```
```python
make = 1
```
'''
    assert list(fenced_commands(text)) == [
        ['bash', 'tools/slurm_train.sh', 'a', 'b', 'c'], ['python', 'tools/prepare_data/cifar10.py'],
        ['python', 'tools/train.py', 'x', '--amp', 'bf16']]
