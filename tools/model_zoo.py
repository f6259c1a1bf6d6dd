"""List, describe, fetch and verify the models of the zoo: python tools/model_zoo.py list."""

import argparse
import sys

from mmsimclr.checkpoints.zoo import cache_folder, fetch_model, verify_file
from mmsimclr.checkpoints.zoo_index import find_entry
from mmsimclr.model_zoo import list_models
from mmsimclr.reporting.model_zoo_page import model_info, models_table
from mmsimclr.runner import plain_errors


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='List, describe, fetch and verify the models of the zoo')
    commands = parser.add_subparsers(dest='command', required=True)
    command = commands.add_parser('list', help='a table of the models')
    command.add_argument('pattern', nargs='?', help="names to list, e.g. '*_in1k' (default: all)")
    command = commands.add_parser('info', help='everything about one model')
    command.add_argument('name')
    command = commands.add_parser('download', help='fetch the published weights of a model')
    command.add_argument('name')
    command.add_argument('--dest', help=f'folder for the file (default: the cache, {cache_folder()})')
    command.add_argument('--mirror', action='append', default=[], metavar='FOLDER_OR_URL',
                         help='where to look first; may be repeated (see also configs/simclr/README.md)')
    command = commands.add_parser('verify', help="hold a file against its name's hash and the zoo's")
    command.add_argument('file')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.command == 'list':
        print(models_table([find_entry(name) for name in list_models(args.pattern)]))
    elif args.command == 'info':
        print(model_info(args.name))
    elif args.command == 'download':
        print(fetch_model(args.name, args.dest, mirrors=args.mirror))
    else:
        verdict = verify_file(args.file)
        print(verdict.message)
        sys.exit(not verdict.verified)


if __name__ == '__main__':
    with plain_errors():
        main()
