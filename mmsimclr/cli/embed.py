"""``mmsimclr embed`` and ``search``: features of images in files, and what is near among them."""

from typing import Any

import click

from mmsimclr.cli import options


@options.command(interrupted=options.GOES_ON)
@click.argument('source')
@click.argument('checkpoint')
@click.option('--out', required=True, help='FILE.npz, or a folder for memory-mapped arrays.')
@click.option('--dataset-key', metavar='KEY', help='Place of the dataset in the config.  [default: that of '
              'test_dataloader, val_dataloader or train_dataloader, the first there is]')
@options.config_options
@click.option('--stages', cls=options.Several, multiple=True, default=['pooled'],
              help='pooled, stem, layer1 ..., projection, projection.hidden1 ...')
@click.option('--dtype', default='float32', help='float32 or float16.')
@click.option('--normalise', is_flag=True, help='Scale each feature to length 1.')
@click.option('--resize-px', type=int, help='Short side.  [default: 256, CIFAR stem 32]')
@click.option('--crop-px', type=int, help='Central crop.  [default: 224, CIFAR stem 32]')
@click.option('--select', help='Address of the encoder, where the checkpoint has several.')
@click.option('--skip-unreadable', is_flag=True, help='Leave out and list bad images.')
@click.option('--verify', is_flag=True, help='Know images by their content, not by their time of writing.')
@click.option('--batch-size', type=int, default=64, help='Images per step of each process.')
@click.option('--num-workers', type=int, default=2, help='Loader processes of each process.')
@options.device_option
@options.launcher_options
def embed(source: str, checkpoint: str, out: str, dataset_key: str | None, cfg_options: dict, dtype: str,
          skip_unreadable: bool, verify: bool, num_workers: int, launcher: str, **settings: Any) -> None:
    """Write the features of images to a file.

    SOURCE is a folder of images, or a config (.py) that names a dataset; CHECKPOINT the file, address or
    model-zoo name of the encoder.
    """
    from mmsimclr import distributed
    from mmsimclr.features import Embedder, extract_to_files, named_images
    from mmsimclr.files import ProgressLine
    distributed.start(launcher, dict(timeout=86_400))         # the fast ranks wait for the slow ones
    images = named_images(source, dataset_key, cfg_options)
    embedder = Embedder(checkpoint, **{**settings, 'stages': list(settings['stages'])})
    with ProgressLine() as progress:
        features = extract_to_files(embedder, images, out, dtype=dtype, num_workers=num_workers,
                                    command=options.command_line(), skip_unreadable=skip_unreadable,
                                    verify=verify, progress=progress)
    if distributed.rank() == 0:
        click.echo(f'{out}: {features}')
    distributed.stop()


@options.command()
@click.argument('images', nargs=-1, required=True, metavar='IMAGE...')
@click.option('--index', required=True, metavar='FEATURES', help='Features to search, from mmsimclr embed.')
@click.option('--checkpoint', help='Their encoder.  [default: the path that the features name]')
@click.option('-k', type=click.IntRange(1), default=10, help='Neighbours of each image.')
@click.option('--out', default='search.jpg', help='Contact sheet to write, .jpg or .png.')
@options.device_option
def search(images: tuple[str, ...], index: str, checkpoint: str | None, k: int, out: str,
           device: str) -> None:
    """Find the images nearest to each IMAGE.

    Prints a table, and draws each IMAGE and, to its right, its neighbours, nearest first.
    """
    if not out.lower().endswith(('.jpg', '.png')):
        raise click.UsageError(f'--out must end in .jpg or .png, got {out}')
    from mmsimclr.features import Embedder, read_features
    from mmsimclr.features.search import search as run
    from mmsimclr.protocols.result import feature_names
    from mmsimclr.reporting import text_table
    from mmsimclr.reporting.atlas import save_search_sheet
    features = read_features(index)
    embedder = Embedder.of_features(features.manifest, checkpoint, device)
    found = run(features, index, embedder(list(images)), k)
    names = feature_names(features)
    click.echo(text_table(['image', 'neighbour', 'cosine'], [
        [image if not place else '', str(names[row]), f'{similarity:.4f}']
        for image, rows, similarities in zip(images, found.rows, found.similarity, strict=True)
        for place, (row, similarity) in enumerate(zip(rows, similarities, strict=True))]))
    click.echo(f'\n{found.index}, recall@10 {100 * found.recall:.1f} % beside exact search')
    if features.paths is not None:
        click.echo(f'contact sheet  {save_search_sheet(images, features.paths[found.rows], out)}')
