"""Model cards say of an encoder what result files say of it, and no more."""

from mmsimclr.checkpoints import EncoderWeights
from mmsimclr.protocols import Result
from mmsimclr.reporting.model_card import model_card


def test_how_an_encoder_was_trained_is_said_where_a_result_says_it(tmp_path):
    encoder = EncoderWeights({}, dict(depth=18, width_multiplier=1, stem='cifar'), sha256='a' * 64)
    Result('k-NN', dict(top_1_accuracy_percent=50.0), {}, 0, checkpoint='a.pth',
           checkpoint_sha256='a' * 64).write(tmp_path / 'knn' / 'result.json')
    assert 'SimCLR\n' not in model_card(encoder, 'hf://me/mine', [tmp_path])
    Result('pretraining', dict(loss_nats=2.0), dict(train=40), 0, checkpoint='a.pth',
           checkpoint_sha256='a' * 64).write(tmp_path / 'result.json')
    assert 'without labels by SimCLR' in model_card(encoder, 'hf://me/mine', [tmp_path])
