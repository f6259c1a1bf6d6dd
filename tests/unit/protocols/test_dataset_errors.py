"""Datasets that are not there, as mmpretrain and the file system say it, and as a user can use it."""

import errno

import pytest

from mmsimclr.protocols.base import clear_dataset_errors


def test_a_missing_folder_is_named_with_the_option_that_names_another():
    with pytest.raises(FileNotFoundError) as caught, clear_dataset_errors():
        raise FileNotFoundError(errno.ENOENT, 'No such file or directory', 'data/x')
    assert str(caught.value).startswith('data/x does not exist') and 'data_root=PATH' in str(caught.value)
    assert caught.value.filename is None                     # so that its message is what is shown


def test_an_error_that_explains_itself_stays():
    error = FileNotFoundError('data_root x does not exist; expected a folder with images')
    with pytest.raises(FileNotFoundError) as caught, clear_dataset_errors():
        raise error
    assert caught.value is error


def test_folders_without_images_are_the_users_data():
    with pytest.raises(ValueError, match='no images to measure on: Found 0 files'), clear_dataset_errors():
        raise RuntimeError('Found 0 files in x')
