"""Tags a folder of recordings: listen.py MODEL FOLDER. Writes one line of JSON for each label heard."""
import argparse
import json
import wave
from pathlib import Path

import numpy as np
import torch


def read_wav(path):
    with wave.open(str(path)) as handle:
        rate, channels, width = handle.getframerate(), handle.getnchannels(), handle.getsampwidth()
        raw = handle.readframes(handle.getnframes())
    if width == 2:
        data = np.frombuffer(raw, dtype="<i2").astype(np.float32) / 32768
    elif width == 4:
        data = np.frombuffer(raw, dtype="<i4").astype(np.float32) / 2147483648
    else:
        raise ValueError(f"{path}: {8 * width} bit")
    return rate, data.reshape(-1, channels).mean(1)


def resample(data, rate, target):
    if rate == target:
        return data
    length = int(round(len(data) * target / rate))
    return np.interp(np.linspace(0, len(data) - 1, length), np.arange(len(data)), data).astype(np.float32)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threshold", type=float, default=0.5)
    options = parser.parse_args()
    from transformers import AutoModelForAudioClassification

    model = AutoModelForAudioClassification.from_pretrained(options.model, trust_remote_code=True).eval()
    for path in sorted(options.folder.rglob("*.wav")):
        rate, data = read_wav(path)
        data = torch.from_numpy(resample(data, rate, model.config.sampling_rate))
        for start, end, label, p in model.tag(data, options.threshold):
            row = {"file": path.name, "start": round(start, 2), "end": round(end, 2), "label": label, "p": round(p, 3)}
            print(json.dumps(row))


if __name__ == "__main__":
    main()
