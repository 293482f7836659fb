"""What the options of several commands have in common."""

import argparse


class Once(argparse.Action):
    """An option that may be given once: two volumes for one modality are a mistake, not a choice of the last."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Take a value; a second one ends the program, as all wrong use of the command line does."""
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option_string} is given twice: there is one volume for each modality")
        setattr(namespace, self.dest, values)
