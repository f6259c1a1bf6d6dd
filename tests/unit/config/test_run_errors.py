"""Errors of a run whose cause is another process or machine, by the words that torch uses for them."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub

from mmsimclr.runner.failures import RunError, explained_failures

WORDS_OF_LOST_PEERS = (
    'Application timeout caused pair closure',
    '[../gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 10000ms for recv operation to complete',
    '[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [10.0.0.2]:1234',
    'Connection reset by peer', 'Remote peer closed the connection.', 'Read timeout [10.0.0.2]:1234',
    'Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?',
    'wait timeout after 10000ms, keys: /default_pg/0//cpu//0', 'Socket Timeout', 'Broken pipe',
    'No route to host', 'NCCL communicator was aborted on rank 0.',
    'The client socket has timed out after 10000ms while trying to connect to (10.0.0.2, 29500).')


def runner_of(processes: int, last_checkpoint: str | None = None,
              timeout: int | None = None) -> SimpleNamespace:
    hub = MessageHub.get_instance(f'run errors {processes} {last_checkpoint}')
    hub.update_info('last_ckpt', last_checkpoint)
    return SimpleNamespace(
        rank=0, world_size=processes, iter=6, message_hub=hub, work_dir='work_dirs/x',
        train_dataloader=SimpleNamespace(num_workers=0),
        cfg={'env_cfg': {'dist_cfg': {'timeout': timeout}} if timeout else None})


@pytest.mark.parametrize('words', WORDS_OF_LOST_PEERS)
def test_the_loss_of_another_process_is_said_in_a_line(words):
    with pytest.raises(RunError) as caught, explained_failures(runner_of(2, 'x/epoch_2.pth', timeout=10)):
        raise RuntimeError(f'{words}\nException raised from somewhere')
    assert str(caught.value) == (
        'process 0 of 2 lost another one at iteration 7: it ended or its machine is gone, or sent nothing '
        f'for 10 s (env_cfg.dist_cfg.timeout); its own log says why ({words}). '
        'The last whole checkpoint is x/epoch_2.pth; --resume goes on from it')


@pytest.mark.parametrize('kind', ['DistNetworkError', 'DistStoreError', 'DistBackendError'])
@pytest.mark.parametrize('words', ['', 'unheard of'])
def test_errors_of_the_process_group_are_known_by_their_class(kind, words):
    with pytest.raises(RunError) as caught, explained_failures(runner_of(2)):
        raise getattr(torch.distributed, kind)(words)
    assert str(caught.value) == (
        'process 0 of 2 lost another one at iteration 7: it ended or its machine is gone; its own log says '
        f'why ({words or kind}). No checkpoint was written yet')


@pytest.mark.parametrize('words', WORDS_OF_LOST_PEERS)
def test_a_run_of_one_process_has_no_other_to_lose(words):
    with pytest.raises(RuntimeError) as caught, explained_failures(runner_of(1)):
        raise RuntimeError(words)
    assert type(caught.value) is RuntimeError


@pytest.mark.parametrize('error', [
    RuntimeError('mat1 and mat2 shapes cannot be multiplied (8x32 and 64x16)'),
    RuntimeError('Expected to have finished reduction in the prior iteration'),
    ValueError('Connection closed by peer')])
def test_faults_of_the_model_are_left_as_they_are(error):
    with pytest.raises(type(error)) as caught, explained_failures(runner_of(2)):
        raise error
    assert caught.value is error
