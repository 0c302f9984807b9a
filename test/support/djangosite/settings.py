"""Settings of the site of the tests."""

import os

SECRET_KEY = 'nothing that is kept'
ALLOWED_HOSTS = ['*']
ROOT_URLCONF = 'support.djangosite.urls'
INSTALLED_APPS = [
    'django.contrib.admin',
    'django.contrib.auth',
    'django.contrib.contenttypes',
    'django.contrib.messages',
    'django.contrib.sessions',
    'support.djangosite',
    'torrelque.contrib.django',
]
MIDDLEWARE = [
    'django.contrib.sessions.middleware.SessionMiddleware',
    'django.contrib.auth.middleware.AuthenticationMiddleware',
    'django.contrib.messages.middleware.MessageMiddleware',
]
TEMPLATES = [
    {
        'BACKEND': 'django.template.backends.django.DjangoTemplates',
        'APP_DIRS': True,
        'OPTIONS': {
            'context_processors': [
                'django.template.context_processors.request',
                'django.contrib.auth.context_processors.auth',
                'django.contrib.messages.context_processors.messages',
            ]
        },
    }
]
DATABASES = {
    'default': {
        'ENGINE': 'support.djangosite.usable',
        'NAME': os.environ['TORRELQUE_TEST_DATABASE'],
        'OPTIONS': {'timeout': 60},
    }
}
DEFAULT_AUTO_FIELD = 'django.db.models.BigAutoField'
PASSWORD_HASHERS = ['django.contrib.auth.hashers.MD5PasswordHasher']
STATIC_URL = 'static/'
USE_TZ = True
LOGGING_CONFIG = None
TORRELQUE = {'DASHBOARD': '/queues/'}
TASKS = {'default': {'BACKEND': 'torrelque.contrib.django.Backend', 'QUEUES': ['default', 'mail']}}
