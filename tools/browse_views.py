"""Draw a sheet of images and their random views: python tools/browse_views.py CONFIG."""

from mmsimclr.cli.configs import views

if __name__ == '__main__':
    views()
