"""Draw what a fine-tuned model finds: python tools/predict.py CONFIG CHECKPOINT IMAGE|FOLDER --out DIR."""

from mmsimclr.cli.benchmark import predict

if __name__ == '__main__':
    predict()
