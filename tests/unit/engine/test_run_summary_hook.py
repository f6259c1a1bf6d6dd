import pytest
from tiny_run import log_of, tiny_config, tiny_runner


def test_first_lines_state_batch_negatives_rate_steps_and_images(tmp_path):
    tiny_runner(tmp_path).train()
    text = log_of(tmp_path)
    expected = [
        'global batch 8 = 8 per device x 1 process(es)\n',
        '14 negatives per anchor; the loss starts near ln(15) at chance\n',
        'learning rate 0.3 at its peak; 2 steps per epoch, 1 epochs, 2 steps\n',
        '16 images; 0.04 M trainable parameters in 2 groups\n',
    ]
    places = [text.find(line) for line in [*expected, 'epoch 1/1']]
    assert -1 not in places
    assert places == sorted(places)


def test_accumulated_steps_are_said_to_add_no_negatives(tmp_path):
    tiny_runner(tmp_path, optim_wrapper=dict(
        optimizer=dict(type='LARS', lr=0.1), accumulative_counts=2)).train()
    text = log_of(tmp_path)
    assert '1 process(es), 2 accumulated' in text
    assert 'accumulative_counts adds no negatives' in text and 'set model.chunk_size' in text
    assert '14 negatives per anchor' in text


@pytest.mark.parametrize('chunk_size, warns', [(None, False), (4, False), (8, True), (256, True)])
def test_a_chunk_that_is_the_whole_batch_is_said_to_save_nothing(tmp_path, chunk_size, warns):
    config = tiny_config(tmp_path)
    tiny_runner(tmp_path, model={**config.model, 'chunk_size': chunk_size}).train()
    warning = f'model.chunk_size={chunk_size} is not below the 8 images of a batch'
    assert (warning in log_of(tmp_path)) == warns
