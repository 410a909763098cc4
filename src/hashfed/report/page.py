def write_page(runs, output): pass
