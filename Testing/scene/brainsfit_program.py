"""A stand-in for BRAINSFit's executable that speaks the protocol of Slicer's command-line modules.

With ``--xml`` it describes its parameters, those of BRAINSFit that are used here. Run, it registers the volumes by
Mattes mutual information, tells its progress in tags on stdout, and writes the transform found. The words in the
environment variable ``BRAINSFIT_BEHAVES`` make it fail in the ways that the real one does.
"""

import argparse
import os
import sys
import time

import SimpleITK as sitk

IMAGES = ("fixedVolume", "movingVolume")
MASKS = ("fixedBinaryVolume", "movingBinaryVolume")
FLAGS = ("useRigid", "useScaleVersor3D", "useScaleSkewVersor3D", "useAffine")
NUMBERS = ("samplingPercentage", "maximumStepLength", "minimumStepLength")
WHOLE_NUMBERS = ("numberOfHistogramBins", "numberOfThreads")
CHOICES = {"initializeTransformMode": "Off", "maskProcessingMode": "ROI", "costMetric": "MMI"}


def description():
    def tag(kind, name, more="", attributes=""):
        return f"<{kind}{attributes}><name>{name}</name><longflag>{name}</longflag>{more}</{kind}>"

    lines = [tag("image", name, "<channel>input</channel>") for name in IMAGES]
    lines += [tag("image", name, "<channel>input</channel>", ' type="label"') for name in MASKS]
    lines.append(tag("transform", "initialTransform", "<channel>input</channel>", ' type="linear"'))
    moved = ' type="linear" fileExtensions=".h5" reference="movingVolume"'
    lines.append(tag("transform", "linearTransform", "<channel>output</channel>", moved))
    lines += [tag("boolean", name, "<default>false</default>") for name in FLAGS]
    lines += [tag("double", name) for name in NUMBERS] + [tag("integer", name) for name in WHOLE_NUMBERS]
    lines += [tag("string-enumeration", name, f"<element>{choice}</element>") for name, choice in CHOICES.items()]
    body = "\n".join(lines)
    return f"<executable><title>BRAINSFit stand-in</title><parameters>\n{body}\n</parameters></executable>"


def parsed():
    parser = argparse.ArgumentParser()
    for name in (*IMAGES, *MASKS, "initialTransform", "linearTransform"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--returnparameterfile", help="given by Slicer alone")
    for name in FLAGS:
        parser.add_argument("--" + name, action="store_true")
    for name in NUMBERS:
        parser.add_argument("--" + name, type=float, required=True)
    for name in WHOLE_NUMBERS:
        parser.add_argument("--" + name, type=int, required=True)
    for name, choice in CHOICES.items():
        parser.add_argument("--" + name, choices=[choice], required=True)
    return parser.parse_args()


def progress(part):
    print(f"<filter-progress>{part}</filter-progress>", flush=True)


def register(args):
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(args.numberOfThreads)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(args.numberOfHistogramBins)
    method.SetMetricFixedMask(sitk.ReadImage(args.fixedBinaryVolume, sitk.sitkUInt8))
    method.SetMetricMovingMask(sitk.ReadImage(args.movingBinaryVolume, sitk.sitkUInt8))
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(args.samplingPercentage, 1)
    method.SetOptimizerAsRegularStepGradientDescent(args.maximumStepLength, args.minimumStepLength, 100)
    method.SetOptimizerScalesFromPhysicalShift()
    initial = sitk.ReadTransform(args.initialTransform).Downcast()
    transform = sitk.VersorRigid3DTransform()
    # As the real one does, take what is rigid of the affine transform that Slicer writes.
    transform.SetMatrix(initial.GetMatrix(), 1e-5)
    transform.SetTranslation(initial.TransformPoint((0.0, 0.0, 0.0)))
    method.SetInitialTransform(transform, inPlace=True)
    method.AddCommand(sitk.sitkIterationEvent, lambda: progress(method.GetOptimizerIteration() / 100))
    method.Execute(
        sitk.ReadImage(args.fixedVolume, sitk.sitkFloat32), sitk.ReadImage(args.movingVolume, sitk.sitkFloat32)
    )
    sitk.WriteTransform(transform, args.linearTransform)


def main():
    if "--xml" in sys.argv:
        print(description())
        return 0
    args = parsed()
    progress(0)
    behaviour = os.environ.get("BRAINSFIT_BEHAVES", "")
    if behaviour == "fails":
        print("BRAINSFit: no samples inside the mask", file=sys.stderr)
        return 1
    if behaviour == "crashes":
        os.abort()
    if behaviour == "says well and writes nothing":
        print("BRAINSFit: done")
        return 0
    if behaviour == "writes rubbish":
        with open(args.linearTransform, "w", encoding="utf-8") as file:
            file.write("rubbish")
        return 0
    if behaviour == "writes a transform that flattens":
        sitk.WriteTransform(sitk.AffineTransform([0.0] * 9, [0.0] * 3), args.linearTransform)
        return 0
    if behaviour == "hangs":
        time.sleep(60)
    register(args)
    progress(1)
    if args.returnparameterfile:
        with open(args.returnparameterfile, "w", encoding="utf-8") as file:
            file.write("finished = 1\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
