"""Pictures that vary as real ones do (`tps data synth --varied`): what a detector for strangers' clips learns from.

Nothing here is meant to look real. Whatever does not make a person varies so widely that a network cannot hold on to
it: surfaces, clutter, light, lens, compression, who stands where and how large (domain randomisation, Tobin et al.
2017, arXiv 1703.06907). Motions, labels and layout are those of the plain data set.
"""
