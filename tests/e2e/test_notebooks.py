"""The notebooks: each runs from top to bottom at tiny size, and is kept with outputs of a real run."""

import re
import signal

import pytest
from processes import ROOT

nbformat = pytest.importorskip('nbformat', reason='needs nbformat (requirements/docs.lock)')
NOTEBOOKS = sorted((ROOT / 'docs/notebooks').glob('*.ipynb'))
# In the place of the values in the cell with the tag `parameters`.
TINY = {
    'quick_start': dict(epochs=1, num_images=256, num_labelled=100, width=4),
    'your_images': dict(epochs=1, num_images=12,
                        sizes=dict(view_size=32, width=4, batch_size=4, workers=0)),
    'torchvision_checkpoint': dict(sizes={
        'protocol.train.num_images': 30, 'protocol.test.num_images': 12, 'protocol.k': [10, 20],
        'protocol.resize_px': 32, 'protocol.crop_px': 32}),
    'reproduce_a_study': dict(options={'train_cfg.max_epochs': 1, 'train_dataloader.dataset.num_images': 32}),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path, monkeypatch):
    client = pytest.importorskip('nbclient', reason='needs nbclient (requirements/docs.lock)')
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    monkeypatch.delenv('MPLBACKEND', raising=False)              # figures are shown in notebooks
    monkeypatch.setenv('IPYTHONDIR', str(tmp_path / '.ipython'))
    notebook = nbformat.read(path, as_version=4)
    cell, = [cell for cell in notebook.cells if 'parameters' in cell.metadata.get('tags', ())]
    cell.source += ''.join(f'\n{name} = {value!r}' for name, value in TINY[path.stem].items())
    handler = signal.getsignal(signal.SIGINT)                    # the client leaves Python's own behind
    client.NotebookClient(notebook, timeout=500, resources={'metadata': {'path': str(tmp_path)}}).execute()
    signal.signal(signal.SIGINT, handler)
    for kept, run in zip(nbformat.read(path, as_version=4).cells, notebook.cells, strict=True):
        if kept.cell_type == 'code' and kept is not cell:
            before, now = ({key for output in each.outputs for key in output.get('data', ())}
                           for each in (kept, run))
            assert before == now, kept.source


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_with_outputs_and_without_paths_of_a_machine(path):
    text = path.read_text(encoding='utf-8')
    assert len(text) < 800_000
    assert not re.search(r'(?<![\w.])/(root|home|tmp|Users|work)/', text)
    cells = [cell for cell in nbformat.reads(text, as_version=4).cells if cell.cell_type == 'code']
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) >= 3
    assert not any(output.output_type == 'error' or output.get('name') == 'stderr'
                   for cell in cells for output in cell.outputs)


def test_every_notebook_has_a_tiny_size():
    assert {path.stem for path in NOTEBOOKS} == set(TINY)
