"""k-NN accuracy of the encoder while it is being pre-trained."""

from contextlib import nullcontext
from functools import cached_property

import torch
from mmengine.hooks import Hook
from torch.utils.data import DataLoader, Subset

from mmsimclr import distributed
from mmsimclr.engine.hooks.held_out import evaluating, evenly_spaced, in_order, record
from mmsimclr.errors import InputError
from mmsimclr.registry import DATASETS, HOOKS, MODELS


@HOOKS.register_module()
class OnlineKNNHook(Hook):
    """Classify held-out images by the nearest features of labelled ones, every few epochs.

    The figure is cheap and noisy; it never touches the weights. Both sets are split over the ranks.

    Args:
        bank, queries: Configs of the labelled and the held-out dataset, packed images with ``gt_label``.
        interval: Epochs between evaluations, >= 1; the last epoch is always evaluated.
        classifier: Config of the classifier; :class:`KNNClassifier` with k = 20 by default.
        max_bank, max_queries: At most this many images of each, evenly spaced, >= 1.
        batch_size, num_workers: Images in one forward pass, and loader processes, per device.
        at_start: Whether to evaluate before the first step too: what random initialisation is worth.
        as_trained: Whether features come through the compiled encoder and in the precision of training,
            which is faster; the figure differs in its last digits.
    """

    priority = 'LOW'                  # after FiniteLossHook, which says more about a diverged encoder
    measures = ('knn_accuracy',)

    def __init__(self, bank: dict, queries: dict, interval: int = 10, classifier: dict | None = None,
                 max_bank: int = 50_000, max_queries: int = 10_000, batch_size: int = 256,
                 num_workers: int = 0, at_start: bool = True, as_trained: bool = False) -> None:
        for name, value in dict(interval=interval, max_bank=max_bank, max_queries=max_queries,
                                batch_size=batch_size).items():
            if value < 1:
                raise InputError(f'{name} must be >= 1, got {value}')
        self.interval, self.at_start, self.as_trained = interval, at_start, as_trained
        self.batch_size, self.num_workers = batch_size, num_workers
        self._configs = dict(bank=(bank, max_bank), queries=(queries, max_queries))
        self._classifier = MODELS.build(classifier or dict(type='mmsimclr.KNNClassifier', k=20))

    def before_train(self, runner) -> None:
        """Build the datasets, so that a wrong path fails before the first step; evaluate at the start."""
        sizes = {name: len(dataset) for name, dataset in self.datasets.items()}
        runner.message_hub.update_info('knn_images', sizes)
        runner.message_hub.update_info('knn_settings', dict(
            k=self._classifier.k, knn_temperature=self._classifier.temperature))
        if self.at_start and runner.iter == 0:
            self._evaluate_and_log(runner, 'knn_accuracy_at_start', 'at the start')

    @cached_property
    def datasets(self) -> dict[str, Subset]:
        """The bank and the queries, built at first use."""
        datasets, self._num_classes = {}, 0
        for name, (config, limit) in self._configs.items():
            dataset = DATASETS.build(config)
            if len(dataset) == 0 or 'gt_label' not in dataset.get_data_info(0):
                raise InputError(f'OnlineKNNHook needs labelled images for its {name}, got '
                                 f'{len(dataset)} images of {type(dataset).__name__}')
            self._num_classes = max(self._num_classes, len(dataset.metainfo.get('classes') or ()))
            datasets[name] = Subset(dataset, evenly_spaced(len(dataset), limit))
        return datasets

    def after_train_epoch(self, runner) -> None:
        if self.every_n_epochs(runner, self.interval) or self.is_last_train_epoch(runner):
            self.measure(runner)

    def measure(self, runner) -> None:
        """Evaluate after an epoch."""
        self._evaluate_and_log(runner, 'knn_accuracy', f'epoch {runner.epoch + 1}')

    def _evaluate_and_log(self, runner, name: str, when: str) -> None:
        with runner.optim_wrapper.optim_context(runner.model) if self.as_trained else nullcontext():
            accuracy = record(runner, dict(knn_accuracy=self.evaluate(runner.model)))['knn_accuracy']
        runner.message_hub.update_info(name, accuracy)
        runner.logger.info(
            f'{when}: k-NN accuracy {accuracy:.2f} % (k = {self._classifier.k}, '
            f'{len(self.datasets["bank"])} in the bank, {len(self.datasets["queries"])} queries)')

    def evaluate(self, model: torch.nn.Module) -> float:
        """Return the top-1 accuracy of the queries in percent, equal on all ranks."""
        with evaluating(model, self.as_trained):
            bank, bank_labels = self._features(model, self.datasets['bank'])
            queries, labels = self._features(model, self.datasets['queries'])
        num_classes = max(self._num_classes, int(bank_labels.max()) + 1)
        votes = self._classifier(queries, bank, bank_labels, num_classes)
        return 100.0 * (votes.argmax(dim=1) == labels).float().mean().item()

    @torch.no_grad()
    def _features(self, model: torch.nn.Module, dataset: Subset) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features [N, C] and labels [N] of the whole dataset, on every rank."""
        world_size, total = distributed.world_size(), len(dataset)
        per_rank = -(-total // world_size)     # on every rank; what wraps around the end is cut off below
        own = [i % total for i in range(distributed.rank(), per_rank * world_size, world_size)]
        # Batches of one size, for which an encoder is compiled once.
        filled = own + own[:1] * (-len(own) % self.batch_size) if self.as_trained else own
        loader = DataLoader(Subset(dataset, filled), self.batch_size, num_workers=self.num_workers,
                            generator=torch.Generator())      # leaves training's random state alone
        features, labels = [], []
        for batch in loader:
            features += [sample.feature for sample in model.test_step(batch)]
            labels.append(torch.as_tensor(batch['data_samples']['gt_label']))
        features = torch.stack(features[:len(own)]).float()
        labels = torch.cat(labels)[:len(own)].to(features.device)
        return in_order(features)[:total], in_order(labels)[:total]
