"""--deterministic: the same command twice gives the same bits, and the result says all that decides them."""

import json

import torch
from processes import run_tool

THREADS = dict(OMP_NUM_THREADS='1')


def run(folder, config, tiny, *arguments) -> dict:
    status, log = run_tool(folder.with_suffix('.log'), 'train.py', config, '--work-dir', folder, *arguments,
                           *tiny(2, randomness__seed=3), **THREADS)
    assert status == 0, log
    scalars, = folder.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in scalars.read_text().splitlines()]
    return dict(losses=[line['loss'] for line in lines if 'loss' in line], log=log,
                weights=torch.load(folder / 'epoch_2.pth', weights_only=False)['state_dict'],
                result=json.loads((folder / 'result.json').read_text()))


def test_a_deterministic_run_can_be_repeated_from_what_its_result_says(tmp_path, quickstart_config, tiny):
    first, again = (run(tmp_path / name, quickstart_config, tiny, '--deterministic')
                    for name in ('first', 'again'))
    assert len(first['losses']) == 10 and first['losses'] == again['losses']
    for name, value in first['weights'].items():
        assert torch.equal(value, again['weights'][name]), name
    result = first['result']
    assert result['seed'] == 3 and '--deterministic' in result['command']
    assert result['flags'] == dict(
        deterministic_algorithms=True, cudnn_benchmark=False, cudnn_deterministic=True, tf32=False, threads=1,
        environment={**result['flags']['environment'], 'CUBLAS_WORKSPACE_CONFIG': ':4096:8',
                     'OMP_NUM_THREADS': '1'})
    assert result['versions']['torch'] == torch.__version__.split('+')[0]


def test_without_the_flag_the_result_says_so(tmp_path, quickstart_config, tiny):
    flags = run(tmp_path / 'run', quickstart_config, tiny)['result']['flags']
    assert flags['deterministic_algorithms'] is False
    assert 'CUBLAS_WORKSPACE_CONFIG' not in flags['environment']
