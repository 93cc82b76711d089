"""The webmail: static pages that speak JMAP, the session of the browser that they run in, and HTML mail made
harmless.

The pages themselves are the files in `static`; no step of a build stands between them and the browser.
"""
