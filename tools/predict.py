"""Draw what a fine-tuned model finds: python tools/predict.py CONFIG CHECKPOINT IMAGE|FOLDER --out DIR."""

from mmsimclr.cli.predict import predict

if __name__ == '__main__':
    predict()
