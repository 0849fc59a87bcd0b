"""The commands of ``descbench``: names, options and help texts. What they do is imported when one is run, so that
``descbench --help`` and completion in a shell start without torch."""
