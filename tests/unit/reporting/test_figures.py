"""Curves, sheets of views and sheets of neighbours, as matplotlib's figures hold them."""

import json

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image
from tiny_run import PACK_IMAGE

from mmsimclr.datasets import Shapes, UnlabeledImageFolder
from mmsimclr.evaluation.shape_bias import Decisions
from mmsimclr.reporting import figures as pictures
from mmsimclr.reporting import (
    original_and_views,
    read_scalars,
    save_neighbour_sheet,
    save_shape_bias_figure,
    save_training_curves,
    save_views_sheet,
)
from mmsimclr.transforms import LoadImageForCrops, MultiView, PackViews, SimCLRView

VIEWS = [dict(type=MultiView, num_views=2, transforms=[dict(type=SimCLRView, size=12, blur=False)]),
         dict(type=PackViews)]


@pytest.fixture
def figures(monkeypatch) -> list[Figure]:
    """Return the list of figures that will be drawn."""
    drawn = []

    class Recorded(Figure):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            drawn.append(self)
    monkeypatch.setattr(pictures, 'Figure', Recorded)
    return drawn


def shapes(pipeline: list) -> Shapes:
    return Shapes(num_images=4, image_size=16, pipeline=pipeline)


def shown(axis) -> list[np.ndarray]:
    return [image.get_array() for image in axis.images]


def test_original_is_the_untouched_image_beside_its_views():
    dataset = shapes(VIEWS)
    original, views = original_and_views(dataset, 2)
    assert np.array_equal(original, dataset.get_data_info(2)['img'])
    assert [view.shape for view in views] == [(12, 12, 3)] * 2
    assert not np.array_equal(*views)


def test_an_image_that_is_decoded_with_its_views_is_shown_whole(tmp_path):
    Image.fromarray(np.full((40, 30, 3), 77, np.uint8)).save(tmp_path / 'a.jpg')
    dataset = UnlabeledImageFolder(str(tmp_path), pipeline=[dict(type=LoadImageForCrops), *VIEWS])
    original, views = original_and_views(dataset, 0)
    assert original.shape == (40, 30, 3) and abs(int(original.mean()) - 77) <= 1
    assert [view.shape for view in views] == [(12, 12, 3)] * 2


def test_a_pipeline_without_views_is_refused():
    with pytest.raises(ValueError, match='pipeline of Shapes has no MultiView step'):
        original_and_views(shapes(PACK_IMAGE), 0)


def test_views_sheet_has_a_row_per_image_and_all_its_draws(tmp_path, figures):
    dataset = shapes(VIEWS)
    path = save_views_sheet(dataset, tmp_path / 'deep' / 'views.png', [3, 0], num_draws=2)
    drawn = [axis for axis in figures[0].axes if axis.images]
    axes = np.array(drawn).reshape(2, 5)                          # the image, and two draws of two views
    for row, index in zip(axes, [3, 0], strict=True):
        assert np.array_equal(shown(row[0])[0], dataset.get_data_info(index)['img'])
        assert [shown(axis)[0].shape for axis in row[1:]] == [(12, 12, 3)] * 4
        assert not np.array_equal(shown(row[1])[0], shown(row[3])[0])
    assert path.is_file()


def test_neighbours_of_the_querys_class_are_framed_green_others_red(tmp_path, figures):
    images = [np.full((4, 4, 3), 10 * i, np.uint8) for i in range(5)]
    path = save_neighbour_sheet(
        tmp_path / 'neighbours.png', images[:1], {'before': [images[1:3]], 'after': [images[3:5]]}, ['dog'],
        {'before': [[False, True]], 'after': [[True, True]]})
    axes = [axis for axis in figures[0].axes if axis.images]
    assert [int(shown(axis)[0][0, 0, 0]) for axis in axes] == [0, 10, 20, 30, 40]
    assert axes[0].get_title() == 'dog'
    frames = [to_hex(axis.spines['left'].get_edgecolor()) for axis in axes[1:]]
    assert frames == [pictures.WRONG, pictures.RIGHT, pictures.RIGHT, pictures.RIGHT]
    titles = [axis.get_title(loc='left') for axis in figures[0].axes if axis.get_title(loc='left')]
    assert titles == ['before', 'after']
    assert path.is_file()


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


def test_scalars_of_a_resumed_run_begin_with_its_first_part(tmp_path):
    first = [dict(step=step, loss=9.0 - step) for step in (0, 10, 20, 30)]
    write_run(tmp_path, '20240101_000000', [dict(step=5, loss=99.0)])            # of another run
    write_run(tmp_path, '20240102_000000', first)
    write_run(tmp_path, '20240103_000000', [dict(step=25, loss=1.0), dict(step=35, loss=0.5)])
    assert [(each['step'], each['loss']) for each in read_scalars(tmp_path)] == [
        (0, 9.0), (10, -1.0), (20, -11.0), (25, 1.0), (35, 0.5)]


def test_a_folder_without_a_run_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        read_scalars(tmp_path)


def test_curves_show_the_values_that_were_logged(tmp_path, figures):
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


def test_each_observer_has_a_dot_for_each_shape_and_a_line_for_all(tmp_path, figures):
    names = ['cat1-dog1.png', 'cat2-dog1.png', 'oven1-car1.png', 'dog1-cat1.png']
    observers = [Decisions('a', names, ['cat', 'dog', 'oven', 'cat']),
                 Decisions('b', names, ['cat', 'cat', 'na', 'cat'])]
    assert save_shape_bias_figure(tmp_path / 'figure.png', observers).is_file()
    axis, = figures[0].axes
    order = [label.get_text() for label in axis.get_yticklabels()]
    found = [{order[int(y)]: x for x, y in dots.get_offsets().tolist()} for dots in axis.collections]
    assert found == [dict(cat=0.5, dog=1, oven=0), dict(cat=0, dog=1)]          # shares of texture
    assert [line.get_xdata()[0] for line in axis.lines] == [0.5, pytest.approx(1 / 3)]
