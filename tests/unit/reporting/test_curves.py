import json

import cv2
import pytest
from matplotlib.figure import Figure

from mmsimclr.reporting import figures as curves
from mmsimclr.reporting import read_scalars, save_training_curves

SCALARS = [dict(step=1, loss=5.0, contrastive_accuracy=0.1), dict(step=2, loss=4.0, contrastive_accuracy=0.4),
           dict(step=2, knn_accuracy=37.5)]


def write_run(work_dir, name: str, scalars: list[dict]) -> None:
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, scalars)) + '\n')


def test_scalars_of_the_newest_run_are_read_in_order(tmp_path):
    write_run(tmp_path, '20240102_000000', SCALARS)
    write_run(tmp_path, '20231231_235959', [dict(step=9)])
    assert read_scalars(tmp_path) == SCALARS


def test_a_folder_without_a_run_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        read_scalars(tmp_path)


def test_curves_show_the_values_that_were_logged(tmp_path, monkeypatch):
    figures = []

    class Recorded(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            figures.append(self)
    monkeypatch.setattr(curves, 'Figure', Recorded)
    path = save_training_curves(SCALARS, tmp_path / 'pictures' / 'curves.png')
    loss, accuracies = figures[0].axes
    assert loss.lines[0].get_xydata().tolist() == [[1, 5.0], [2, 4.0]]
    assert {line.get_label(): line.get_xydata().tolist() for line in accuracies.lines} == {
        'contrastive': [[1, 10.0], [2, 40.0]], 'online k-NN': [[2, 37.5]]}
    assert cv2.imread(str(path)).std() > 1


def test_a_run_without_accuracies_still_has_its_loss_drawn(tmp_path):
    assert save_training_curves([dict(step=1, loss=5.0)], tmp_path / 'curves.png').is_file()


def test_scalars_without_a_loss_are_refused(tmp_path):
    with pytest.raises(ValueError, match='hold no loss'):
        save_training_curves([dict(step=1, knn_accuracy=3.0)], tmp_path / 'curves.png')
