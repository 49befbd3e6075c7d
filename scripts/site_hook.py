"""What MkDocs calls: the repository's documents, the reference and linked sources become pages."""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from site_documents import ROOT, documents, for_site, linked_sources, pictures, source_page
from site_documents import source_text as text_of
from site_reference import PAGES


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Put our files, with their places in the repository, in place of those in ``docs``."""
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    for name in (*documents(), *pictures()):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    for name in linked_sources():
        hidden = InclusionLevel.NOT_IN_NAV
        page = source_page(name)
        files.append(File.generated(config, page, content=text_of(name), inclusion=hidden))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Translate what GitHub reads otherwise."""
    del config, files
    name = page.file.src_uri
    return for_site(name, markdown) if (ROOT / name).exists() else markdown
