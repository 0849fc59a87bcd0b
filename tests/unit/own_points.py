"""A module of the user's with networks of points, for tests to write where they stand."""

MODULE = '''
import torch
import torch.nn.functional as F
from torch import nn


class Peaks(nn.Module):
    """Points are the highest of 5 x 5 neighbours, of the mean over colours; descriptors are the 9 pixels around."""

    def __init__(self, form="tuple", least=0.55, scale=1.0):
        super().__init__()
        self.form, self.least = form, least
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, image):
        grey = image.mean(1, keepdim=True)
        highest = (grey == F.max_pool2d(grey, 5, 1, 2)) & (grey > self.least)
        rows, columns = torch.nonzero(highest[0, 0], as_tuple=True)
        points = torch.stack((columns, rows), 1).float()
        return FORMS[self.form](points, grey[0, 0, rows, columns], self.describe(image, points))

    def describe(self, image, points):
        around = F.unfold(image.mean(1, keepdim=True), 3, padding=1)[0].t()
        places = points.round().long()
        return self.scale * around[places[:, 1] * image.shape[-1] + places[:, 0]]


class Detector(nn.Module):
    def __init__(self, form="no descriptors"):
        super().__init__()
        self.peaks = Peaks(form)

    def forward(self, image):
        return self.peaks(image)


class Descriptor(nn.Module):
    def __init__(self):
        super().__init__()
        self.peaks = Peaks()

    def forward(self, image, points):
        return self.peaks.describe(image, points)


FORMS = {
    "tuple": lambda points, scores, rows: (points, scores, rows),
    "list": lambda points, scores, rows: [points, scores, rows],
    "no descriptors": lambda points, scores, rows: (points, scores),
    "dictionary": lambda points, scores, rows: {
        "keypoints": points, "scores": scores, "descriptors": rows, "image_size": torch.tensor([3, 4])
    },
    "lightglue": lambda points, scores, rows: {
        "keypoints": points[None], "keypoint_scores": scores[None], "descriptors": rows[None]
    },
    "lists": lambda points, scores, rows: {"keypoints": [points], "scores": [scores], "descriptors": [rows]},
    "list of one": lambda points, scores, rows: [{"keypoints": points, "scores": scores, "descriptors": rows}],
    "half": lambda points, scores, rows: (points.half(), scores.half(), rows.half()),
    "double": lambda points, scores, rows: (points.double(), scores.double(), rows.double()),
    "sizes": lambda points, scores, rows: {
        "keypoints": points, "scores": scores, "descriptors": rows, "sizes": 3 + scores
    },
}
'''
