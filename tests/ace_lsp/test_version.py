import ace_analysis
from ace_lsp import version


def test_the_version_is_that_of_the_library():
    assert version.installed_version() == ace_analysis.__version__


def test_the_version_is_read_from_the_distributions_folder(tmp_path, monkeypatch):
    (tmp_path / "ace_lsp-9.8.7.dist-info").mkdir()
    monkeypatch.setattr(version.sys, "path", ["", str(tmp_path / "nowhere"), str(tmp_path)])
    assert version.installed_version() == "9.8.7"


def test_where_there_is_no_such_folder_the_library_says_it(monkeypatch):
    monkeypatch.setattr(version.sys, "path", [])
    monkeypatch.setattr(ace_analysis, "__version__", "1.2.3", raising=False)
    assert version.installed_version() == "1.2.3"
