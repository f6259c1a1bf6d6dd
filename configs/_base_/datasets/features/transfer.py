"""The 12 datasets of the paper's transfer benchmark, each with its metric.

Where there is no official validation split, 20 % of the training images are held out; the paper does not
say how many. Pets has 37 classes and official lists of training and test images only. SUN397 and DTD are
their first splits.
"""

from mmpretrain.datasets import (
    CIFAR100, DTD, SUN397, FGVCAircraft, Flowers102, Food101, OxfordIIITPet, StanfordCars)

from mmsimclr.datasets import CIFAR10, Birdsnap, Caltech101, VOCMultiLabel

_top_1, _mean_class, _map = 'top_1_accuracy_percent', 'mean_class_accuracy_percent', '11_point_map_percent'
# mmpretrain gives Flowers no names of classes.
_flowers = dict(classes=[f'flower {number}' for number in range(1, 103)])

food101 = dict(
    name='Food-101', metric=_top_1, root='data/food-101', needs=('images', 'meta/train.txt', 'meta/test.txt'),
    train=dict(type=Food101, data_root='data/food-101', split='train', pipeline=[]),
    test=dict(type=Food101, data_root='data/food-101', split='test', pipeline=[]),
    source='https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/ (food-101.tar.gz)')
cifar10 = dict(
    name='CIFAR-10', metric=_top_1, root='data/cifar10', needs=('cifar-10-batches-*',),
    train=dict(type=CIFAR10, data_root='data/cifar10', split='train', pipeline=[]),
    test=dict(type=CIFAR10, data_root='data/cifar10', split='test', pipeline=[]),
    source='https://www.cs.toronto.edu/~kriz/cifar.html (tools/prepare_data/cifar10.py does it)')
cifar100 = dict(
    name='CIFAR-100', metric=_top_1, root='data/cifar100',
    needs=('cifar-100-python/train', 'cifar-100-python/test', 'cifar-100-python/meta'),
    train=dict(type=CIFAR100, data_root='data/cifar100', split='train', download=False, pipeline=[]),
    test=dict(type=CIFAR100, data_root='data/cifar100', split='test', download=False, pipeline=[]),
    source='https://www.cs.toronto.edu/~kriz/cifar.html (cifar-100-python.tar.gz)')
birdsnap = dict(
    name='Birdsnap', metric=_top_1, root='data/birdsnap',
    needs=('species.txt', 'images.txt', 'test_images.txt'),
    train=dict(type=Birdsnap, data_root='data/birdsnap', split='train', pipeline=[]),
    test=dict(type=Birdsnap, data_root='data/birdsnap', split='test', pipeline=[]),
    source='http://thomasberg.org/datasets/birdsnap/1.1/birdsnap.tgz',
    note='Its get_birdsnap.py fetches the images into download/images; those whose address no longer '
         'answers are left out and counted')
sun397 = dict(
    name='SUN397', metric=_top_1, root='data/SUN397',
    needs=('SUN397', 'Partitions/Training_01.txt', 'Partitions/Testing_01.txt'),
    train=dict(type=SUN397, data_root='data/SUN397', split='train', pipeline=[]),
    test=dict(type=SUN397, data_root='data/SUN397', split='test', pipeline=[]),
    source='https://vision.princeton.edu/projects/2010/SUN/ (SUN397.tar.gz and Partitions.zip)')
cars = dict(
    name='Stanford Cars', metric=_top_1, root='data/stanford_cars', needs=('car_ims', 'cars_annos.mat'),
    train=dict(type=StanfordCars, data_root='data/stanford_cars', split='train', pipeline=[]),
    test=dict(type=StanfordCars, data_root='data/stanford_cars', split='test', pipeline=[]),
    source='https://ai.stanford.edu/~jkrause/cars/car_dataset.html (car_ims.tgz and cars_annos.mat)')
aircraft = dict(
    name='FGVC Aircraft', metric=_mean_class, root='data/fgvc-aircraft-2013b',
    needs=('data/images', 'data/images_variant_train.txt', 'data/images_variant_val.txt',
           'data/images_variant_test.txt'),
    train=dict(type=FGVCAircraft, data_root='data/fgvc-aircraft-2013b', split='train', pipeline=[]),
    val=dict(type=FGVCAircraft, data_root='data/fgvc-aircraft-2013b', split='val', pipeline=[]),
    trainval=dict(type=FGVCAircraft, data_root='data/fgvc-aircraft-2013b', split='trainval', pipeline=[]),
    test=dict(type=FGVCAircraft, data_root='data/fgvc-aircraft-2013b', split='test', pipeline=[]),
    source='https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/ (fgvc-aircraft-2013b.tar.gz)')
voc2007 = dict(
    name='VOC2007', metric=_map, root='data/VOCdevkit/VOC2007',
    needs=('JPEGImages', 'Annotations', 'ImageSets/Main/train.txt', 'ImageSets/Main/val.txt',
           'ImageSets/Main/test.txt'),
    train=dict(type=VOCMultiLabel, data_root='data/VOCdevkit/VOC2007', split='train', pipeline=[]),
    val=dict(type=VOCMultiLabel, data_root='data/VOCdevkit/VOC2007', split='val', pipeline=[]),
    trainval=dict(type=VOCMultiLabel, data_root='data/VOCdevkit/VOC2007', split='trainval', pipeline=[]),
    test=dict(type=VOCMultiLabel, data_root='data/VOCdevkit/VOC2007', split='test', pipeline=[]),
    source='http://host.robots.ox.ac.uk/pascal/VOC/voc2007/ (VOCtrainval_06-Nov-2007.tar and '
           'VOCtest_06-Nov-2007.tar)')
dtd = dict(
    name='DTD', metric=_top_1, root='data/dtd', needs=('images', 'imdb/imdb.mat'),
    train=dict(type=DTD, data_root='data/dtd', split='train', pipeline=[]),
    val=dict(type=DTD, data_root='data/dtd', split='val', pipeline=[]),
    trainval=dict(type=DTD, data_root='data/dtd', split='trainval', pipeline=[]),
    test=dict(type=DTD, data_root='data/dtd', split='test', pipeline=[]),
    source='https://www.robots.ox.ac.uk/~vgg/data/dtd/ (dtd-r1.0.1.tar.gz)')
pets = dict(
    name='Oxford-IIIT Pets', metric=_mean_class, root='data/oxford-iiit-pets',
    needs=('images', 'annotations/trainval.txt', 'annotations/test.txt'),
    train=dict(type=OxfordIIITPet, data_root='data/oxford-iiit-pets', split='trainval', pipeline=[]),
    test=dict(type=OxfordIIITPet, data_root='data/oxford-iiit-pets', split='test', pipeline=[]),
    source='https://www.robots.ox.ac.uk/~vgg/data/pets/ (images.tar.gz and annotations.tar.gz)')
caltech101 = dict(
    name='Caltech-101', metric=_mean_class, root='data/caltech-101', needs=('101_ObjectCategories',),
    train=dict(type=Caltech101, data_root='data/caltech-101', split='train', pipeline=[]),
    test=dict(type=Caltech101, data_root='data/caltech-101', split='test', pipeline=[]),
    source='https://data.caltech.edu/records/mzrjq-6wc02 (caltech-101.zip)')
flowers = dict(
    name='Oxford 102 Flowers', metric=_mean_class, root='data/flowers102',
    needs=('jpg', 'imagelabels.mat', 'setid.mat'),
    train=dict(type=Flowers102, data_root='data/flowers102', split='train',
               metainfo=_flowers, pipeline=[]),
    val=dict(type=Flowers102, data_root='data/flowers102', split='val',
               metainfo=_flowers, pipeline=[]),
    trainval=dict(type=Flowers102, data_root='data/flowers102', split='trainval',
               metainfo=_flowers, pipeline=[]),
    test=dict(type=Flowers102, data_root='data/flowers102', split='test',
               metainfo=_flowers, pipeline=[]),
    source='https://www.robots.ox.ac.uk/~vgg/data/flowers/102/ (102flowers.tgz, imagelabels.mat, setid.mat)')

tasks = [
    food101, cifar10, cifar100, birdsnap, sun397, cars, aircraft, voc2007, dtd, pets, caltech101, flowers]
