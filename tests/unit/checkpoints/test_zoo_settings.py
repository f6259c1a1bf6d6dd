"""What the user's config file says of mirrors and the cache, and what it is refused for."""

import pytest

from mmsimclr.checkpoints.zoo import cache_folder, config_file, configured_mirrors


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Return the place of the config file, and set nothing."""
    for name in ('MMSIMCLR_MIRRORS', 'MMSIMCLR_CACHE', 'MMSIMCLR_CONFIG', 'XDG_CONFIG_HOME',
                 'XDG_CACHE_HOME'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    path = tmp_path / '.config' / 'mmsimclr' / 'config.yml'
    path.parent.mkdir(parents=True)
    return path


def test_the_file_is_where_the_variables_say(path, tmp_path, monkeypatch):
    assert config_file() == path
    monkeypatch.setenv('XDG_CONFIG_HOME', '')
    assert config_file() == path
    monkeypatch.setenv('XDG_CONFIG_HOME', '/xdg')
    assert str(config_file()) == '/xdg/mmsimclr/config.yml'
    (tmp_path / 'my.yml').write_text('mirrors: [http://a]')
    monkeypatch.setenv('MMSIMCLR_CONFIG', '~/my.yml')
    assert configured_mirrors() == ['http://a']


def test_without_a_file_nothing_is_set_unless_it_was_named(path, tmp_path, monkeypatch):
    assert configured_mirrors() == [] and cache_folder() == tmp_path / '.cache' / 'mmsimclr' / 'checkpoints'
    monkeypatch.setenv('MMSIMCLR_CONFIG', 'nowhere.yml')
    for function in (configured_mirrors, cache_folder):
        with pytest.raises(FileNotFoundError, match=r'no file at nowhere\.yml, which MMSIMCLR_CONFIG names'):
            function()


def test_an_empty_file_sets_nothing(path):
    path.write_text('# mirrors: []')
    assert configured_mirrors() == []


def test_folders_are_below_the_files_own_unless_absolute(path, tmp_path):
    path.write_text("mirrors: [here, ~/there, /data, 'file:///x', http://a]\ncache: cache")
    assert configured_mirrors() == [f'{path.parent}/here', f'{tmp_path}/there', '/data', 'file:///x', 'http://a']
    assert cache_folder() == path.parent / 'cache'


def test_the_environment_goes_before_the_file(path, monkeypatch):
    path.write_text('mirrors: [/file]\ncache: /file')
    monkeypatch.setenv('MMSIMCLR_MIRRORS', '/variable, ,http://b')
    monkeypatch.setenv('MMSIMCLR_CACHE', '/variable')
    monkeypatch.setenv('XDG_CACHE_HOME', '/xdg')
    assert configured_mirrors() == ['/variable', 'http://b', '/file'] and str(cache_folder()) == '/variable'
    monkeypatch.delenv('MMSIMCLR_CACHE')
    assert str(cache_folder()) == '/file'


@pytest.mark.parametrize('text, message', [
    ('mirrosr: [a]', "has an unknown key 'mirrosr'; did you mean 'mirrors'?"),
    ('1: [a]', 'has an unknown key 1 (accepted: mirrors: a list of folders and addresses; cache: a folder)'),
    ('mirrors: /data', "mirrors must be a list of folders and addresses, got '/data'"),
    ('mirrors: [1]', 'mirrors must be a list of folders and addresses, got [1]'),
    ('mirrors:', 'mirrors must be a list of folders and addresses, got None'),
    ('cache: [a]', "cache must be a folder, got ['a']"),
    ('- a', 'must hold keys and values (mirrors: a list of folders and addresses; cache: a folder), got ['),
    ('mirrors: [', 'is no YAML: ')])
def test_a_wrong_file_is_refused_by_its_name(path, text, message):
    path.write_text(text)
    for function in (configured_mirrors, cache_folder):
        with pytest.raises(ValueError) as refused:
            function()
        assert str(refused.value).startswith(str(path)) and message in str(refused.value)
