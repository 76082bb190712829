"""HTML pages and texts from Jinja templates."""

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def page_template(package: str, name: str) -> Template:
    """Load a template that lies beside a package's modules. It escapes values; an undefined variable is an error."""
    return _template(package, name, escape=True)


def text_template(package: str, name: str) -> Template:
    """Load the template of a plain text or of Markdown, like :func:`page_template` but without escaping."""
    return _template(package, name, escape=False)


def _template(package: str, name: str, *, escape: bool) -> Template:
    environment = Environment(
        loader=PackageLoader(package, ""),
        autoescape=escape,  # noqa: S701 a text is no page
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
