import pytest
from tiny_run import log_of, tiny_config, tiny_runner


def test_first_lines_state_batch_negatives_rate_steps_and_images(tmp_path):
    tiny_runner(tmp_path).train()
    text = log_of(tmp_path)
    expected = [
        'images         16 of Shapes, 10 classes, not used\n',
        'model          SimCLR, ResNet-18, 0.04 M trainable parameters\n',
        'global batch   8: 14 negatives per anchor; the loss starts near ln(15) = 2.71\n',
        'learning rate  0.3 at its peak\n',
        'steps          2 = 1 epochs of 2\n',
    ]
    places = [text.find(line) for line in [*expected, 'epoch 1/1']]
    assert -1 not in places
    assert places == sorted(places)


@pytest.mark.parametrize('enabled, expected', [(True, 'bfloat16'), (False, 'float32')])
def test_the_precision_is_that_of_the_steps(enabled, expected, tmp_path):
    tiny_runner(tmp_path, optim_wrapper=dict(
        type='BFloat16OptimWrapper', enabled=enabled, optimizer=dict(type='LARS', lr=0.1))).train()
    device = next(line for line in log_of(tmp_path).splitlines() if ' device  ' in line)
    assert device.endswith(f', {expected}')


def test_accumulated_steps_are_said_to_add_no_negatives(tmp_path):
    tiny_runner(tmp_path, optim_wrapper=dict(
        optimizer=dict(type='LARS', lr=0.1), accumulative_counts=2)).train()
    text = log_of(tmp_path)
    assert 'global batch   8, 2 accumulated: ' in text
    assert 'accumulative_counts adds no negatives' in text and 'set model.chunk_size' in text
    assert '14 negatives per anchor' in text


@pytest.mark.parametrize('chunk_size, warns', [(None, False), (4, False), (8, True), (256, True)])
def test_a_chunk_that_is_the_whole_batch_is_said_to_save_nothing(tmp_path, chunk_size, warns):
    config = tiny_config(tmp_path)
    tiny_runner(tmp_path, model={**config.model, 'chunk_size': chunk_size}).train()
    warning = f'model.chunk_size={chunk_size} is not below the 8 images of a batch'
    assert (warning in log_of(tmp_path)) == warns
