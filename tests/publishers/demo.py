"""How some hosts of the demo rows behave in `make run`, so that its report shows what reports are for. A table, no code.

What fails for good fails at once; what fails for a while recovers at the next request, so that the demo ends soon. It is all a
caricature of what has been met in the field, and says nothing of how these publishers' servers behave today.
"""

RULES = """
# Half of Kew's images come as application/octet-stream, and are images all the same.
www.kew.org=jpeg_as_octets
# A refusal by policy, for some.
mediaphoto.mnhn.fr=http_403 20%
repo.rbge.org.uk=http_401 50%
# A viewer's page instead of the picture.
data.landcareresearch.co.nz=html_as_jpeg
# A page under 200 that says that we are blocked: the host is given up, since the demo is to end soon.
www.tropicos.org=access_denied_200
# Gone.
images.ala.org.au=http_404
www.nhm.ac.uk=http_404 25%
# Slow, but well.
www.westafricanplants.senckenberg.de=slow_first_byte:0.4
medialib.naturalis.nl=drip:0.5
# Too many requests, once: the host is left alone for two seconds.
observation.org=http_429_seconds:2 x1
# Breaks off in the middle, or half of the picture; well at the second try.
svampe.databasen.org=close_mid_body x1/url 40%
www.artportalen.se=truncated_matching_length x1/url 30%
static.inaturalist.org=http_503_seconds:1 x1
# Where the pictures really are.
collections.nmnh.si.edu=redirect_to_host:ids.si.edu
www.digit.snm.ku.dk=redirect_to_https
# A camera's raw file, a PDF, a TIFF under the name of a JPEG.
sesam.senckenberg.de=dng_preview 20%
www.unimus.no=pdf x1
pictures.snsb.info=tiff
"""
